#!/bin/sh
# Writes reports/latency/README.md: the swept quickstart behind a link with a round trip
# of 100 ms, at the bundled SLM's own speed and at the pace of a larger one. Run it from
# the repository's root. TOKENROUTE names the program.
set -eu
program=${TOKENROUTE:-target/release/tokenroute}
report=reports/latency/README.md
whole=$(mktemp)
trap 'rm -f "$whole"' EXIT

study() {
    printf '\n## %s\n\nMade by\n\n```sh\ntokenroute latency %s\n```\n\n' "$1" "$2"
    # shellcheck disable=SC2086
    "$program" --quiet latency $2
}

common="experiments/quickstart/experiment.toml --max-offload-ratio 0.06 --round-trips 100 --bandwidths 100"
{
    printf '# The bundled pair behind a network\n\nWritten by `experiments/quickstart/latency.sh`.\n'
    study 'At the speed of this machine' "$common --questions 200"
    study 'At the pace of a larger small model' "$common --questions 100 --speculate 2 --step-ms 10"
} > "$whole"
mkdir -p reports/latency
cp "$whole" "$report"
