#!/bin/sh
# Does one part of a stage. The scheduler gives the part's number, PARTS is their count.
#
#   PARTS=8 experiments/cluster/part.sh label|sweep EXPERIMENT [options of the stage]
#
# The number is SLURM_ARRAY_TASK_ID (1 to PARTS), JOB_COMPLETION_INDEX of a Kubernetes Indexed
# Job (0 to PARTS − 1), or PART. A part that was killed may be started again; it resumes.
set -eu
stage=$1
experiment=$2
shift 2
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    number=$SLURM_ARRAY_TASK_ID
elif [ -n "${JOB_COMPLETION_INDEX:-}" ]; then
    number=$((JOB_COMPLETION_INDEX + 1))
else
    number=$PART
fi
exec "${TOKENROUTE:-tokenroute}" "$stage" "$experiment" --part "$number/$PARTS" "$@"
