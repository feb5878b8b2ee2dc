#!/bin/sh
# The stages of an experiment in parts, as processes on this machine.
#
#   PARTS=4 ROUNDS=1 experiments/cluster/local.sh EXPERIMENT [--set KEY=VALUE]...
#
# ROUNDS is label.rounds of the experiment.
set -eu
experiment=$1
shift
here=$(dirname "$0")
program=${TOKENROUTE:-tokenroute}

parts() {
    stage=$1
    shift
    pids=
    part=1
    while [ "$part" -le "$PARTS" ]; do
        PART=$part "$here/part.sh" "$stage" "$experiment" "$@" &
        pids="$pids $!"
        part=$((part + 1))
    done
    for pid in $pids; do
        wait "$pid"
    done
    "$program" "$stage" "$experiment" --merge "$@"
}

round=0
while [ "$round" -le "$ROUNDS" ]; do
    parts label "$@"
    round=$((round + 1))
done
"$program" train "$experiment" "$@"
parts sweep "$@"
"$program" report "$experiment" "$@"
