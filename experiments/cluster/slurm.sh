#!/bin/sh
# Submits the stages of an experiment to Slurm: a job array for the parts of each label round and
# of the sweep, and a job that merges them. Each job waits for the one before.
#
#   PARTS=8 ROUNDS=1 experiments/cluster/slurm.sh EXPERIMENT [--set KEY=VALUE]...
#
# ROUNDS is label.rounds of the experiment. SBATCH_OPTIONS go to every job, as in
# SBATCH_OPTIONS="--partition=cpu --cpus-per-task=16 --mem=32G --time=24:00:00".
# Run it in the repository's folder, on a file system that all nodes share.
set -eu
experiment=$1
shift
here=$(dirname "$0")
program=${TOKENROUTE:-tokenroute}
export PARTS
after=

# Submits a job after the last one and remembers its number.
submit() {
    # shellcheck disable=SC2086 # SBATCH_OPTIONS are several words.
    job=$(sbatch --parsable --export=ALL --requeue ${after:+--dependency=afterok:$after} \
        ${SBATCH_OPTIONS:-} "$@")
    after=${job%%;*}
}

# Submits one program of this folder or the command, without a script of its own.
wrapped() {
    name=$1
    shift
    line=
    for word in "$@"; do
        line="$line '$(printf %s "$word" | sed "s/'/'\\\\''/g")'"
    done
    submit --job-name="tokenroute-$name" $array --wrap="$line"
}

stage() {
    stage=$1
    shift
    array=--array=1-$PARTS
    wrapped "$stage" "$here/part.sh" "$stage" "$experiment" "$@"
    array=
    wrapped "$stage-merge" "$program" "$stage" "$experiment" --merge "$@"
}

round=0
while [ "$round" -le "$ROUNDS" ]; do
    stage label "$@"
    round=$((round + 1))
done
wrapped train "$program" train "$experiment" "$@"
stage sweep "$@"
wrapped report "$program" report "$experiment" "$@"
echo "the report is job $after"
