#!/usr/bin/env python3
"""Fills the numbers of README.md from the summary.json of reports/csqa-qwen2.5-coder and
reports/gsm8k-qwen2.5-coder.

    python3 tools/readme-numbers.py           # write them
    python3 tools/readme-numbers.py --check   # exit 1 if README.md is stale

A block lies between `<!-- numbers:NAME -->` and `<!-- /numbers -->`; BLOCKS names its writer.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SUMMARY = ROOT / "reports" / "csqa-qwen2.5-coder" / "summary.json"
SECOND = ROOT / "reports" / "gsm8k-qwen2.5-coder" / "summary.json"
# The offload target of the headline, those of the table, and the table's policies.
TARGET = 0.07
TARGETS = [0.02, 0.05, 0.07, 0.10]
# The offload target of the second experiment, and its training-free policies.
SECOND_TARGET = 0.10
UNCERTAINTIES = ["max-probability", "margin", "entropy"]
POLICIES = ["max-probability", "margin", "entropy", "query-head", "random"]

BLOCK = re.compile(r"(<!-- numbers:([a-z-]+) -->\n)(.*?)(<!-- /numbers -->)", re.DOTALL)


def percent(share):
    return f"{100 * share:.1f}%"


def interval(pair):
    return f"{100 * pair[0]:.1f}–{100 * pair[1]:.1f}%"


def at_target(policy, target=TARGET):
    return next(point for point in policy["points"] if point["target"] == target)


def headline(summary):
    point = at_target(summary)
    return (
        f"CommonsenseQA, Qwen2.5-Coder 0.5B on the device and 1.5B as the large model, greedy answers that reason first:\n"
        f"**with {percent(point['offload'])} of the tokens made by the large model, the pair answers "
        f"{percent(point['accuracy'])} of {summary['questions']:,} unseen questions right**\n"
        f"(95% interval {interval(point['ci'])}; the small model alone {percent(summary['slm']['accuracy'])}, "
        f"the large one alone {percent(summary['llm']['accuracy'])}).\n"
    )


def policies(summary):
    rows = [("**router**", summary)]
    rows += [(f"`{name}`", summary["baselines"][name]) for name in POLICIES]
    budgets = " | ".join(f"at {100 * target:.0f}%" for target in TARGETS)
    lines = [f"| policy | {budgets} | APGR to 20% (95%) |", "| --- |" + " ---: |" * (len(TARGETS) + 1)]
    for name, policy in rows:
        points = [at_target(policy, target) for target in TARGETS]
        cells = [f"{percent(point['accuracy'])} ({percent(point['offload'])})" for point in points]
        low, high = policy["apgr20_ci"]
        cells.append(f"{policy['apgr20']:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def second(_):
    summary = json.loads(SECOND.read_text(encoding="utf-8"))
    point = at_target(summary, SECOND_TARGET)
    best = max(UNCERTAINTIES, key=lambda name: summary["baselines"][name]["apgr20"])
    found = summary["apgr20_differences"][best]
    low, high = found["interval"]
    verdict = "so routing gains there too" if low > 0 else "so the gain is not shown"
    return (
        f"On GSM8K ({summary['questions']} questions, [report](reports/gsm8k-qwen2.5-coder/README.md)) the same models get "
        f"{percent(summary['slm']['accuracy'])} and {percent(summary['llm']['accuracy'])} right,\n"
        f"and the pair {percent(point['accuracy'])} at {percent(point['offload'])} offload. The router's APGR to 20% exceeds "
        f"that of `{best}` by {found['value']:.3f} ({low:.3f} to {high:.3f}), {verdict}. "
    )


BLOCKS = {"headline": headline, "policies": policies, "second": second}


def fill(text, summary):
    found = [match[2] for match in BLOCK.finditer(text)]
    if sorted(found) != sorted(BLOCKS):
        raise SystemExit(f"{README.name} has the blocks {sorted(found)}; expected {sorted(BLOCKS)}, each once")
    return BLOCK.sub(lambda match: match[1] + BLOCKS[match[2]](summary) + match[4], text)


def main(arguments):
    if arguments not in ([], ["--check"]):
        raise SystemExit(__doc__)
    text = README.read_text(encoding="utf-8")
    filled = fill(text, json.loads(SUMMARY.read_text(encoding="utf-8")))
    if not arguments:
        README.write_text(filled, encoding="utf-8")
    elif filled != text:
        print(f"{README.name} does not have the numbers of {SUMMARY.relative_to(ROOT)}; "
              "run python3 tools/readme-numbers.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
