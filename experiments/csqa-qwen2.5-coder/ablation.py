#!/usr/bin/env python3
"""What holds the router back: other features, heads, labels and numbers of labelled questions.

    HF_HUB_CACHE=… python3 experiments/csqa-qwen2.5-coder/ablation.py --work FOLDER

Each variant is `tokenroute run` on this experiment with some keys changed. τ is chosen on the
validation questions, and figures are measured on the calibration questions, so that the test
questions stay unread. Judgements that the experiment keeps are used. A killed run resumes.

Writes ablation.md and ablation.json beside the experiment's report.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
REPORT = ROOT / "reports" / HERE.name
TRAIN = "hf:datasets/tau/commonsense_qa:data/train-00000-of-00001.parquet"
# The experiment's calibration questions as test questions, and no others.
COMMON = [
    f'data.files.test={{file="{TRAIN}", skip=9200}}', "data.test=150", "data.calibration=0",
    "label.test=false", "train.seeds=1", "sweep.baselines=[]", "report.examples=0",
]
MLP = 'train.architecture={kind="mlp", widths=[16], activation="gelu", rewards=1}'
# Name, what it shares labels with, and the changed keys.
VARIANTS = [
    ("default: 400 questions, round 0", None, []),
    ("hidden state alone", 0, ["train.features=hidden"]),
    ("probabilities alone", 0, ["train.features=probabilities"]),
    ("MLP of 16 units", 0, [MLP]),
    ("every row weighs the same", 0, ["train.class_weight=none"]),
    ("neutral rows weigh 0.3", 0, ["train.neutral_weight=0.3"]),
    ("200 questions", None, ["data.router_train=200"]),
    ("100 questions", None, ["data.router_train=100"]),
    ("one on-policy round", None, ["label.rounds=1"]),
    ("labels along the walk", None, ["label.reference=walk"]),
]
TARGETS = [0.02, 0.05, 0.10]


def run(program, work, number, changed, labels):
    """Runs a variant and returns its summary."""
    folder = work / f"{number:02}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ["experiment.toml", "judgements"]:
        source, target = HERE / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy(source, target)
    if labels is not None and not (folder / "run" / "labels").exists():
        shutil.copytree(work / f"{labels:02}" / "run" / "labels", folder / "run" / "labels")
    command = [program, "run", folder / "experiment.toml"]
    for change in COMMON + changed:
        command += ["--set", change]
    subprocess.run([str(part) for part in command], check=True)
    return json.loads((folder / "run" / "report" / "summary.json").read_text(encoding="utf-8"))


def row(name, summary):
    cells = []
    for target in TARGETS:
        point = next(point for point in summary["points"] if point["target"] == target)
        cells.append(f"{100 * point['accuracy']:.1f}% ({100 * point['offload']:.1f}%)")
    low, high = summary["apgr20_ci"]
    return f"| {name} | {' | '.join(cells)} | {summary['apgr20']:.3f} ({low:.3f} to {high:.3f}) |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the variants' runs")
    parser.add_argument("--tokenroute", default="tokenroute", help="the program")
    parser.add_argument("--take", type=int, default=len(VARIANTS), help="only the first variants")
    options = parser.parse_args()
    found = []
    for number, (name, labels, changed) in enumerate(VARIANTS[:options.take]):
        found.append((name, run(options.tokenroute, options.work, number, changed, labels)))
    first = found[0][1]
    budgets = " | ".join(f"at {100 * target:.0f}%" for target in TARGETS)
    lines = [
        "# What holds the router back",
        "",
        f"Measured on the {first['questions']} calibration questions, τ from the validation questions, by "
        f"`python3 experiments/{HERE.name}/ablation.py`. Accuracy at three budgets, with the offload ratio measured. "
        f"APGR is over offload ratios up to 20%, with its 95% interval. The SLM alone answers "
        f"{100 * first['slm']['accuracy']:.1f}% right, the LLM alone {100 * first['llm']['accuracy']:.1f}%.",
        "",
        f"| router | {budgets} | APGR |",
        "| --- |" + " ---: |" * (len(TARGETS) + 1),
    ]
    lines += [row(name, summary) for name, summary in found]
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "ablation.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    kept = [{"router": name, **{key: summary[key] for key in ["points", "apgr20", "apgr20_ci"]}}
            for name, summary in found]
    (REPORT / "ablation.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
