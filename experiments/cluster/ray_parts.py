#!/usr/bin/env python3
"""The stages of an experiment in parts, as tasks of a Ray cluster.

    python3 experiments/cluster/ray_parts.py EXPERIMENT --parts 8 --rounds 1 --cpus 8 \\
        [--set KEY=VALUE]...

`--rounds` is label.rounds of the experiment. Run it in the repository's folder, on a file system
that all nodes share. It starts a cluster on this machine, or joins the one of RAY_ADDRESS. A part
that fails, or whose node is lost, starts again up to five times and resumes. A part computes on
all CPUs of its node, so `--cpus` should be their number: Ray then starts one on each.
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys

import ray

PROGRAM = os.environ.get("TOKENROUTE", "tokenroute")
RETRIES = 5


def end_with_worker():
    """Ends the program when its Ray worker is killed, so that no part runs twice (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@ray.remote(max_retries=RETRIES, retry_exceptions=[subprocess.CalledProcessError])
def tokenroute(arguments, folder):
    """Runs the command on whichever node Ray chooses."""
    subprocess.run([PROGRAM, *arguments], cwd=folder, check=True, preexec_fn=end_with_worker)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment")
    parser.add_argument("--parts", type=int, required=True, help="parts of a stage")
    parser.add_argument("--rounds", type=int, default=1, help="label.rounds of the experiment")
    parser.add_argument("--cpus", type=int, default=1, help="CPUs that Ray reserves for a part")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the experiment")
    args = parser.parse_args()
    if args.parts < 1 or args.rounds < 0 or args.cpus < 1:
        parser.error("--parts and --cpus are 1 or more, --rounds is 0 or more")

    ray.init()
    task = tokenroute.options(num_cpus=args.cpus)
    changes = [word for change in args.set for word in ("--set", change)]

    def start(stage, *more):
        return task.remote([stage, args.experiment, *more, *changes], os.getcwd())

    def in_parts(stage):
        ray.get([start(stage, "--part", f"{i}/{args.parts}") for i in range(1, args.parts + 1)])
        ray.get(start(stage, "--merge"))

    for _ in range(args.rounds + 1):
        in_parts("label")
    ray.get(start("train"))
    in_parts("sweep")
    ray.get(start("report"))


if __name__ == "__main__":
    try:
        main()
    except ray.exceptions.RayTaskError as error:
        sys.exit(f"a task failed {RETRIES + 1} times: {error.cause}")
