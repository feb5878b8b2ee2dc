#!/usr/bin/env python3
"""Times labelling and sweeping of 24 real questions, beside an earlier version of tokenroute.

    HF_HUB_CACHE=... HF_HUB_OFFLINE=1 python3 experiments/csqa-qwen2.5-coder/bench.py
                                                                  (or: just bench-real)

Both versions label 12 + 6 questions of CommonsenseQA, train a router, and sweep 6 test questions
with the router and four policies, in turns and from an empty folder each time. The prompt is the
experiment's. The earlier version is built from its commit in a work tree of its own, under
target/bench-real; this takes as long as a first build. --old and --new name programs instead.

Beside the times it compares the rows of both label tables by tokens and relations, and the curves
of the policies that read no router. Graders have changed since, so that some relations may differ.

Writes bench.md and bench.json to reports/csqa-qwen2.5-coder. Needs pyarrow.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pyarrow.parquet

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
REPORT = ROOT / "reports" / HERE.name
COMMIT = "28ff3d5"
SPLITS = {"router-train": 12, "validation": 6, "test": 6}
# The first validation questions have no divergent position, without which no router is trained.
FILES = {"router-train": "router-train", "validation": "calibration", "test": "test"}
BASELINES = ["random", "max-probability", "entropy", "difference-oracle"]
STAGES = ["label", "train", "sweep"]
ROW = ["question", "position", "slm_token", "llm_token", "relation"]


def toml(value):
    """A value as TOML; JSON is TOML for these."""
    return json.dumps(value, ensure_ascii=False)


def experiment():
    """An experiment file that both versions read."""
    with open(HERE / "experiment.toml", "rb") as file:
        whole = tomllib.load(file)
    data, prompt = whole["data"], dict(whole["data"]["prompt"])
    examples = prompt.pop("examples")
    lines = ['title = "24 real questions"', "seed = 1", "[pair]"]
    lines += [f"{key} = {toml(whole['pair'][key])}" for key in ("slm", "llm")]
    lines += ["[data]"] + [f"{key} = {toml(data[key])}" for key in ("schema", "grader", "max_tokens")]
    lines += [f"{split.replace('-', '_')} = {count}" for split, count in SPLITS.items()]
    for split in SPLITS:
        lines += [f"[data.files.{split}]"]
        lines += [f"{key} = {toml(value)}" for key, value in data["files"][FILES[split]].items()]
    lines += ["[data.prompt]"] + [f"{key} = {toml(value)}" for key, value in prompt.items()]
    for example in examples:
        lines += ["[[data.prompt.examples]]"]
        lines += [f"{key} = {toml(value)}" for key, value in example.items()]
    lines += ["[label]", "rounds = 0", "max_rollouts_per_question = 0", "questions_per_shard = 12"]
    lines += ["[sweep]", f"baselines = {toml(BASELINES)}", "chunk = 6", "resamples = 100"]
    lines += ["[report]", 'folder = "report"']
    return "\n".join(lines) + "\n"


def earlier(work):
    """The earlier version's program, built if need be."""
    tree, target = work / "tree", work / "target"
    if not tree.exists():
        subprocess.run(["git", "-C", ROOT, "worktree", "add", "--detach", tree, COMMIT], check=True)
    subprocess.run(["cargo", "build", "--release", "--bin", "tokenroute"], cwd=tree, check=True,
                   env={**os.environ, "CARGO_TARGET_DIR": str(target)})
    return target / "release/tokenroute"


def stages(program, folder):
    """Runs the stages in an empty folder. Returns their seconds."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    file = folder / "experiment.toml"
    file.write_text(experiment(), encoding="utf-8")
    took = {}
    for stage in STAGES:
        begin = time.perf_counter()
        done = subprocess.run([program, stage, file], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"{program} {stage} ended with {done.returncode}: {done.stderr[-500:]}")
        took[stage] = time.perf_counter() - begin
    return took


def rows(folder):
    """The label rows: what both models say, and the relation."""
    found = set()
    for file in sorted((folder / "run/labels").rglob("*.parquet")):
        table = pyarrow.parquet.read_table(file, columns=ROW)
        found |= set(zip(*(table.column(name).to_pylist() for name in ROW)))
    return found


def pieces(folder):
    """The curves of the policies without a router: by policy and question, each answer's grade,
    offloaded and generated tokens in the order of τ. Equal neighbours are one."""
    columns = ["policy", "question", "end", "correct", "offloaded", "generated"]
    table = pyarrow.parquet.read_table(folder / "run/sweep/curves.parquet", columns=columns)
    found = {}
    for policy, question, end, *piece in zip(*(table.column(c).to_pylist() for c in columns)):
        if policy in BASELINES:
            found.setdefault((policy, question), []).append((end, tuple(piece)))
    merged = {}
    for key, curve in found.items():
        ordered = [piece for _, piece in sorted(curve)]
        merged[key] = [p for i, p in enumerate(ordered) if i == 0 or ordered[i - 1] != p]
    return merged


def markdown(report):
    lines = [
        "# Labelling and sweeping, beside an earlier version", "",
        f"24 questions of CommonsenseQA with the pair of this folder, on {report['machine']}: "
        f"{SPLITS['router-train']} + {SPLITS['validation']} labelled without a cap, "
        f"{SPLITS['test']} swept with the router and {len(BASELINES)} policies. "
        f"Commit {COMMIT} and this version ran in turns {report['repeat']} times. "
        "Loading is part of the times.", "", "Made by", "", "```sh", report["command"], "```", "",
        f"| stage | {COMMIT}, seconds | this version, seconds | ratio |", "| --- | --- | --- | --- |",
    ]
    for stage in STAGES:
        old, new = (report[which][stage] for which in ("old", "new"))
        lines.append(f"| {stage} | {old:.1f} | {new:.1f} | {old / new:.2f} |")
    same = report["rows"]
    lines += ["", f"Label rows: {same['both']} equal, {same['old']} only in {COMMIT}, "
              f"{same['new']} only in this version. Curves without a router: {report['curves']['same']} "
              f"of {report['curves']['all']} (policy and question) have the same answers in the order of τ.", ""]
    return "\n".join(lines)


def machine():
    try:
        text = Path("/proc/cpuinfo").read_text()
        name = next(l.split(":")[1].strip() for l in text.splitlines() if l.startswith("model name"))
    except (OSError, StopIteration):
        name = "an unknown processor"
    return f"{name}, {os.cpu_count()} threads"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "target/bench-real")
    parser.add_argument("--old", type=Path, help="a built program of the earlier version")
    parser.add_argument("--new", type=Path, default=Path(
        os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tokenroute")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    work = args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    programs = {"old": args.old or earlier(work), "new": args.new}
    if not programs["new"].exists():
        sys.exit(f"{programs['new']} is missing; cargo build --release makes it")
    times = {"old": [], "new": []}
    for turn in range(args.repeat):
        for which in sorted(times, reverse=bool(turn % 2)):
            times[which].append(stages(programs[which].resolve(), work / which))
            print(which, times[which][-1], file=sys.stderr)
    tables = {which: rows(work / which) for which in times}
    curves = {which: pieces(work / which) for which in times}
    keys = curves["old"].keys() | curves["new"].keys()
    report = {
        "command": "python3 experiments/csqa-qwen2.5-coder/bench.py", "machine": machine(),
        "repeat": args.repeat, "times": times,
        **{which: {stage: statistics.median(t[stage] for t in all) for stage in STAGES}
           for which, all in times.items()},
        "rows": {"both": len(tables["old"] & tables["new"]),
                 "old": len(tables["old"] - tables["new"]), "new": len(tables["new"] - tables["old"])},
        "curves": {"all": len(keys),
                   "same": sum(curves["old"].get(k) == curves["new"].get(k) for k in keys)},
    }
    (REPORT / "bench.json").write_text(json.dumps(report, indent=1) + "\n")
    (REPORT / "bench.md").write_text(markdown(report), encoding="utf-8")
    print(markdown(report))


if __name__ == "__main__":
    main()
