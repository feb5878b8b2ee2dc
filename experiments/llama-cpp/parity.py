#!/usr/bin/env python3
"""The same tokens as llama.cpp, from files that llama.cpp's own tools have written.

    python3 experiments/llama-cpp/parity.py           (or: just parity-llama-cpp)

Models are exported in f32 and rewritten by llama-quantize. In f32, 256 greedy tokens are
compared step by step on llama.cpp's own path; steps where its best two logits are less than
1e-3 apart are left out and counted. Quantised, both read the same tokens: how often the best
token agrees, and the mean Kullback-Leibler divergence. The bundled pair reads its own test
questions, models of random weights read random tokens. Writes reports/parity-llama-cpp.
Needs what peer.sh builds.
"""

import argparse
import array
import json
import math
import os
import random
import subprocess
import sys
from pathlib import Path

from bench import ROOT, machine, run

STEPS, CLOSE = 256, 1e-3
QUANTISED = ["Q8_0", "Q4_0", "Q4_K_M", "Q6_K"]
# Name, how it is made, positions that are compared when it is quantised.
BUNDLED = [("word-problems-slm", 192), ("word-problems-llm", 192)]
# Rows of the second are whole blocks of 256, so that Q4_K and Q6_K are used throughout.
RANDOM = [("qwen2.5-0.5b", [], 24), ("qwen2.5-1.5b", ["--layers", "4"], 24)]


def pipe(command, ids):
    """Raw standard output of a command that reads ids."""
    done = subprocess.run([str(part) for part in command], input=" ".join(map(str, ids)).encode(),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        what = done.stderr.decode()[-500:].strip()
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {what}")
    return done.stdout


def text_ids(program, model, positions):
    """Tokens of the first test questions."""
    with open(ROOT / "datasets/word-problems/test.jsonl", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    stems = " ".join(line["question"] for line in lines[:40])
    said = json.loads(run([program, "step", "--model", model, "--text", stems[:4 * positions],
                           "--top-k", 1, "--json"]))
    return [position["input"] for position in said][:positions]


def step(program, model, ids, *more):
    ids = ",".join(map(str, ids))
    return json.loads(run([program, "step", "--model", model, "--ids", ids, "--json", *more]))


def greedy(program, peer, model, prompt, threads):
    """Our best tokens on the peer's path, and how far free decoding goes along with it."""
    lines = pipe([peer / "logits", model, threads, "greedy", STEPS], prompt).decode().split("\n")
    path = [(int(token), float(gap)) for token, gap in (line.split() for line in lines if line)]
    tokens = [token for token, _ in path]
    ours = step(program, model, prompt + tokens[:-1], "--top-k", 2)[len(prompt) - 1:]
    close = differ = 0
    for said, (token, gap) in zip(ours, path):
        if gap < CLOSE:
            close += 1
        elif said["token"] != token:
            differ += 1
    ids = ",".join(map(str, prompt))
    free = json.loads(run([program, "generate", "--model", model, "--ids", ids, "--max-tokens",
                           STEPS, "--json"]))["tokens"]
    same = next((i for i, (a, b) in enumerate(zip(free, tokens)) if a != b), len(free))
    return {"steps": len(path), "close": close, "differ": differ,
            "free_tokens": len(free), "free_same": same}


def log_softmax(logits):
    most = max(logits)
    total = math.log(math.fsum(math.exp(x - most) for x in logits)) + most
    return [x - total for x in logits]


def forced(program, peer, model, ids, threads):
    """Agreement of the best token and mean KL(llama.cpp || tokenroute), in nats."""
    raw = array.array("f")
    raw.frombytes(pipe([peer / "logits", model, threads, "forced"], ids))
    width = len(raw) // len(ids)
    agree, divergence = 0, []
    for i, said in enumerate(step(program, model, ids, "--logits", "--top-k", 1)):
        theirs = raw[i * width:(i + 1) * width]
        ours = said["logits"]
        assert len(ours) == len(theirs), f"{len(ours)} logits, llama.cpp has {len(theirs)}"
        agree += said["token"] == theirs.index(max(theirs))
        p, q = log_softmax(theirs), log_softmax(ours)
        divergence.append(math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q)))
    return {"positions": len(ids), "agree": agree,
            "mean_kl": math.fsum(divergence) / len(ids), "greatest_kl": max(divergence)}


def compare(program, peer, folder, work, ids, threads):
    """All types of one model."""
    exported, results = work / f"{folder.name}-export.gguf", {}
    if not exported.exists():
        run([program, "export", "--model", folder, "--type", "f32", "--out", exported])
    for kind in ["F32", *QUANTISED]:
        file = work / f"{folder.name}-{kind}.gguf"
        try:
            if not file.exists():
                run([peer / "native/bin/llama-quantize", exported, file, kind, threads])
            if kind == "F32":
                results[kind] = greedy(program, peer, file, ids[:24], threads)
            results.setdefault(kind, {}).update(forced(program, peer, file, ids, threads))
        except (RuntimeError, SystemExit) as error:
            # Widths that a type cannot hold, for the one side or the other.
            results[kind] = {"error": str(error).strip().splitlines()[-1]}
        print(folder.name, kind, results[kind], file=sys.stderr)
    return results


def markdown(report):
    lines = [
        "# tokenroute's tokens and llama.cpp's", "",
        f"Files written by llama.cpp's own `llama-quantize` ({report['peer']}), read by both on "
        f"{report['machine']['cpu']}. In F32, {STEPS} greedy steps on llama.cpp's path; steps with "
        f"its best two logits under {CLOSE} apart are left out. Else the best token at every "
        "position of one text, and KL(llama.cpp ‖ tokenroute) in nats. llama.cpp rounds "
        "activations to 8 bits its own way, so quantised logits differ in the last places. "
        "Made by", "", "```sh", report["command"], "```", "",
        "| model | type | greedy steps | left out | differ | best token agrees | mean KL | "
        "greatest KL |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, results in report["models"].items():
        for kind, found in results.items():
            if "error" in found:
                lines.append(f"| {model} | {kind} | - | - | - | {found['error']} | - | - |")
                continue
            steps = [str(found.get(key, "-")) for key in ["steps", "close", "differ"]]
            lines.append(
                f"| {model} | {kind} | {' | '.join(steps)} | {found['agree']} of "
                f"{found['positions']} | {found['mean_kl']:.2e} | {found['greatest_kl']:.2e} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=ROOT / "target/llama-cpp")
    parser.add_argument("--work", type=Path, default=ROOT / "target/parity-llama-cpp")
    parser.add_argument("--program", type=Path, default=Path(
        os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tokenroute")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/parity-llama-cpp")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bundled-only", action="store_true", help="leave random models out")
    args = parser.parse_args()
    peer = args.peer.resolve()
    if not (peer / "logits").exists():
        sys.exit(f"llama.cpp is not in {peer}; bash experiments/llama-cpp/peer.sh builds it")
    args.work.mkdir(parents=True, exist_ok=True)
    known = peer / "version"
    report = {
        "command": "python3 experiments/llama-cpp/parity.py", "machine": machine(),
        "peer": known.read_text().strip() if known.exists() else "a given checkout", "models": {},
    }
    for name, positions in BUNDLED:
        folder = ROOT / "models" / name
        ids = text_ids(args.program, folder, positions)
        report["models"][name] = compare(args.program, peer, folder, args.work, ids, args.threads)
    for name, more, positions in [] if args.bundled_only else RANDOM:
        folder = args.work / name
        if not (folder / "model.safetensors").exists():
            run([args.program, "random-model", "--shape", name, *more, "--out", folder])
        ids = random.Random(1).choices(range(151_000), k=positions)
        report["models"][f"{name}, random"] = compare(
            args.program, peer, folder, args.work, ids, args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    text = markdown(report)
    (args.out / "README.md").write_text(text, encoding="utf-8")
    (args.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
