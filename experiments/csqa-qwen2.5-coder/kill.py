#!/usr/bin/env python3
"""Kills a run on the real pair in each stage, and checks that the resumed run gives the same bytes.

    HF_HUB_CACHE=... HF_HUB_OFFLINE=1 python3 experiments/csqa-qwen2.5-coder/kill.py

24 questions of CommonsenseQA (those of bench.py) go through `run` twice: once undisturbed, and once
with SIGKILL a few seconds after each start, at least --kills times in `label` and in `sweep` and once
in `train` and in `report`. Label table, router, curves and costs must be equal.

Writes kill.md to reports/csqa-qwen2.5-coder.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from bench import REPORT, ROOT, experiment, machine

STAGES = ["label", "train", "sweep", "report"]
# Compared byte for byte.
FILES = ["labels", "router/router.safetensors", "sweep/curves.parquet", "sweep/costs.json"]


def prepare(folder):
    if folder.exists():
        sys.exit(f"{folder} is there already; remove it, or name another folder by --work")
    folder.mkdir(parents=True)
    text = experiment().replace("questions_per_shard = 12", "questions_per_shard = 2")
    (folder / "experiment.toml").write_text(text.replace("chunk = 6", "chunk = 1"), encoding="utf-8")
    return folder / "experiment.toml"


def stage_at(folder):
    """The stage that a run is in, by the manifests of those that are done."""
    run = folder / "run"
    done = {"label": run / "labels/round-0/manifest.json", "train": run / "router/manifest.json",
            "sweep": run / "sweep/manifest.json"}
    return next((stage for stage, file in done.items() if not file.exists()), "report")


def killed_run(program, file, kills, noise):
    """Runs until it ends by itself. Returns the number of kills in each stage."""
    count = dict.fromkeys(STAGES, 0)
    due = {"label": kills, "train": 1, "sweep": kills, "report": 1}
    while True:
        process = subprocess.Popen([program, "run", file], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        # The next stage is awaited, then a part of it.
        wait = noise.uniform(1.5, 6.0)
        said = []
        reader = threading.Thread(target=lambda: said.extend(process.stderr))
        reader.start()
        begin = time.monotonic()
        while process.poll() is None:
            stage = stage_at(file.parent)
            late = time.monotonic() - begin > (wait if stage in ("label", "sweep") else 0.3)
            if late and count[stage] < due[stage]:
                process.send_signal(signal.SIGKILL)
                process.wait()
                count[stage] += 1
                break
            time.sleep(0.02)
        reader.join()
        if process.returncode == 0:
            return count
        if process.returncode != -signal.SIGKILL:
            sys.exit(f"the run ended with {process.returncode}: {''.join(said)[-500:]}")


def hashes(folder):
    """SHA-256 of every compared file."""
    found = {}
    for name in FILES:
        path = folder / "run" / name
        for file in sorted(path.rglob("*.parquet")) if path.is_dir() else [path]:
            found[str(file.relative_to(folder))] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "target/kill-real")
    parser.add_argument("--program", type=Path, default=Path(
        os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tokenroute")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    program, work = args.program.resolve(), args.work.resolve()
    plain, killed = prepare(work / "plain"), prepare(work / "killed")
    subprocess.run([program, "run", plain], check=True, stdout=subprocess.DEVNULL)
    count = killed_run(program, killed, args.kills, random.Random(args.seed))
    ours, theirs = hashes(plain.parent), hashes(killed.parent)
    different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
    text = "\n".join([
        "# Killed runs on the real pair", "",
        f"24 questions of CommonsenseQA on {machine()}, killed by SIGKILL and started again: "
        + ", ".join(f"{number} times in `{stage}`" for stage, number in count.items()) + ".", "",
        f"Of {len(ours)} files (label table, router, curves, costs) {len(ours) - len(different)} equal "
        "those of a run that was never killed, byte for byte."
        + (f" Different: {', '.join(different)}." if different else ""), "",
        "Made by", "", "```sh", "python3 experiments/csqa-qwen2.5-coder/kill.py", "```", ""])
    (REPORT / "kill.md").write_text(text, encoding="utf-8")
    print(text)
    print(json.dumps(count), file=sys.stderr)
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
