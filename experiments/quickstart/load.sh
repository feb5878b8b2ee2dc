#!/bin/sh
# Writes reports/serve/README.md: `tokenroute serve` under load, with the run quickstart's router
# at a threshold where it offloads 7%. TOKENROUTE names the program; from the repository's root.
set -eu
program=${TOKENROUTE:-$PWD/target/release/tokenroute}
router=$PWD/experiments/quickstart/run/router/router.safetensors
found=$(mktemp)
trap 'rm -f "$found"' EXIT

load() {
    title=$1 test=$2
    shift 2
    printf '\n## %s\n\n```sh\n' "$title"
    for set in "$@"; do printf '%s \\\n' "${set#*:}"; done
    printf 'TOKENROUTE_LOAD_PROGRAM=target/release/tokenroute \\\n'
    printf 'cargo test --workspace --test load -- --ignored --nocapture %s\n```\n\n' "$test"
    for set in "$@"; do export "${set%%:*}"; done
    TOKENROUTE_LOAD_PROGRAM=$program \
        cargo test --workspace --locked --test load -- --ignored --nocapture "$test" 2>/dev/null |
        sed -n 's/^.*\.\.\. *//; s/^ *\([0-9][0-9]* clients: .*\)/- \1/p'
}

{
    printf '# The server under load\n\nWritten by `experiments/quickstart/load.sh`. Clients, server and, where there is one, the\nLLM'"'"'s server share the machine, which has %s processors.\n' "$(nproc)"
    load 'The cloud killed and started again, twice in a minute' no_request_fails
    load 'One client and many, every token the SLM'"'"'s' many_clients \
        'TOKENROUTE_LOAD_TAU=0:TOKENROUTE_LOAD_TAU=0'
    load 'One client and many, 7% of the tokens the LLM'"'"'s' many_clients \
        "TOKENROUTE_LOAD_TAU=0.98559266:TOKENROUTE_LOAD_TAU=0.98559266" \
        "TOKENROUTE_LOAD_ROUTER=$router:TOKENROUTE_LOAD_ROUTER=experiments/quickstart/run/router/router.safetensors"
    unset TOKENROUTE_LOAD_TAU TOKENROUTE_LOAD_ROUTER
    load 'One client and many, a made-up router at τ = 0.5' many_clients
} > "$found"
mkdir -p reports/serve
cp "$found" reports/serve/README.md
