#!/bin/sh
# Writes reports/serve/README.md: `tokenroute serve` under load, with the quickstart's
# router at a threshold that offloads 7% of the tokens. Needs a finished run of the quickstart. Run it
# from the repository's root. TOKENROUTE names the program.
set -eu
found=$(mktemp)
trap 'rm -f "$found"' EXIT

load() {
    title=$1 test=$2
    shift 2
    printf '\n## %s\n\n```sh\n' "$title"
    # shellcheck disable=SC2016
    for set in "$@" 'TOKENROUTE_LOAD_PROGRAM="$PWD/target/release/tokenroute"'; do
        printf '%s \\\n' "$set"
        eval "export $set"
    done
    printf 'cargo test --workspace --test load -- --ignored --nocapture %s\n```\n\n' "$test"
    [ -z "${TOKENROUTE:-}" ] || export TOKENROUTE_LOAD_PROGRAM="$TOKENROUTE"
    cargo test --workspace --locked --test load -- --ignored --nocapture "$test" 2>/dev/null |
        sed -n 's/^.*\.\.\. *//; s/^ *\([0-9][0-9]* clients: .*\)/- \1/p'
}

{
    printf '# The server under load\n\nWritten by `experiments/quickstart/load.sh`. Clients, server and the LLM'"'"'s server\n(if any) run on one machine with %s processors.\n' "$(nproc)"
    load 'The LLM'"'"'s server killed and restarted, twice in a minute' no_request_fails
    load 'One client and many, all tokens from the SLM' many_clients \
        'TOKENROUTE_LOAD_TAU=0'
    load 'One client and many, 7% of the tokens from the LLM' many_clients \
        'TOKENROUTE_LOAD_TAU=0.98559266' \
        'TOKENROUTE_LOAD_ROUTER="$PWD/experiments/quickstart/run/router/router.safetensors"'
    unset TOKENROUTE_LOAD_TAU TOKENROUTE_LOAD_ROUTER
    load 'One client and many, a synthetic router at τ = 0.5' many_clients
} > "$found"
mkdir -p reports/serve
cp "$found" reports/serve/README.md
