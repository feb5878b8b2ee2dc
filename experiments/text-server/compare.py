#!/usr/bin/env python3
"""Checks that a text-only LLM gives the tokens of one that takes token ids.

    python3 experiments/text-server/compare.py [--llama-server target/llama-cpp/native/bin/llama-server]

The bundled pair decodes the quickstart's 300 test questions: with the LLM in process by token ids, in
process through text (with token healing), and on `tokenroute cloud` through texts of /v1/completions.
Answers are compared token by token. An answer is compared up to its first difference, since the texts
differ from there on. Each first difference is printed with what both said.

With --llama-server the LLM, exported to GGUF in F32, also runs on llama.cpp's server. Its logits differ in their
last digits, so that it may choose otherwise where two tokens are nearly as probable.

Writes reports/text-server.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TAUS = ["0.5", "0.9", "0.99", "1"]


def generate(args, llm, tau, more):
    command = [args.program, "--quiet", "generate", "--slm", ROOT / "models/word-problems-slm",
               "--llm", llm, "--router", ROOT / "models/word-problems-router/router.safetensors",
               "--tau", tau, "--questions", args.work / "questions.jsonl", "--json", *more]
    done = subprocess.run([str(part) for part in command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def llama_server(args):
    """A llama-server with the bundled LLM, and its URL."""
    gguf = args.work / "word-problems-llm.gguf"
    subprocess.run([args.program, "--quiet", "export", "--model", ROOT / "models/word-problems-llm",
                    "--type", "f32", "--out", gguf], check=True)
    at = port()
    with open(args.work / "llama-server.log", "w") as log:
        server = subprocess.Popen(
            [args.llama_server, "-m", gguf, "--port", str(at), "-np", "16", "-c", "16384", "-t", "1"],
            stdout=log, stderr=log)
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{at}/health", timeout=1):
                return server, f"http://127.0.0.1:{at}"
        except OSError:
            time.sleep(0.1)
    server.kill()
    sys.exit(f"llama-server is not ready; see {args.work / 'llama-server.log'}")


def made(answer):
    return [(token["token"], token["origin"]) for token in answer["trace"]["tokens"]]


def compare(ids, texts):
    found = {"tokens": 0, "same": 0, "after": 0, "differ": 0, "degraded": 0, "where": []}
    for ours, theirs in zip(ids, texts, strict=True):
        a, b = made(ours), made(theirs)
        found["tokens"] += len(a)
        found["degraded"] += theirs["degraded"]
        same = 0
        while same < min(len(a), len(b)) and a[same] == b[same]:
            same += 1
        found["same"] += same
        if same < max(len(a), len(b)):
            found["differ"] += 1
            found["after"] += max(0, len(a) - same - 1)
            found["where"].append({"question": ours["id"], "position": same,
                                   "ids": ours["text"], "text": theirs["text"]})
    for name, answers in [("ids", ids), ("texts", texts)]:
        found[f"right_{name}"] = sum(answer["correct"] for answer in answers)
        found[f"calls_{name}"] = sum(answer["llm_calls"] for answer in answers)
        found[f"positions_{name}"] = sum(answer["llm_positions"] for answer in answers)
    return found


def markdown(report):
    lines = [
        "# The bundled pair with an LLM of text alone", "",
        f"{report['questions']} test questions, greedy. Each row decodes them with the LLM by token "
        "ids and through text, and compares the answers token by token.", "",
        "- \"Through text\": in process with token healing (`--through-text`), or on "
        "`tokenroute cloud` or llama.cpp's server by the rule for servers (`--llm-api text`).",
        "- \"Differ\": answers with a different token. \"After\": tokens after the first different "
        "one, which are not compared.",
        "- LLM positions through text are those of the LLM's own tokens.",
        "- llama.cpp's logits differ from ours in their last digits, so that it may choose otherwise "
        "where two tokens are nearly as probable.", "",
        "Made by", "", "```sh", report["command"], "```", "",
        "| τ | through text | tokens | same | after | **answers that differ** | degraded | LLM calls | "
        "LLM positions | right |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["rows"]:
        f = row["found"]
        lines.append(
            f"| {row['tau']} | {row['way']} | {f['tokens']} | {f['same']} | {f['after']} | "
            f"**{f['differ']}** | {f['degraded']} | {f['calls_ids']} / {f['calls_texts']} | "
            f"{f['positions_ids']} / {f['positions_texts']} | {f['right_ids']} / {f['right_texts']} |")
    where = [(row, one) for row in report["rows"] for one in row["found"]["where"]]
    if where:
        lines += ["", "## Differences", ""]
        lines += [f"- τ {row['tau']}, {row['way']}, {one['question']}, token {one['position']}: "
                  f"{one['ids']!r} by ids, {one['text']!r} through text" for row, one in where[:40]]
        if len(where) > 40:
            lines.append(f"- and {len(where) - 40} more in `results.json`")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "target/text-server")
    parser.add_argument("--program", type=Path, default=Path(
        os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tokenroute")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/text-server")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--llama-server", type=Path)
    args = parser.parse_args()
    if not args.program.exists():
        sys.exit(f"{args.program} does not exist; make it with: cargo build --release")
    args.work.mkdir(parents=True, exist_ok=True)
    with open(ROOT / "datasets/word-problems/test.jsonl", encoding="utf-8") as file:
        asked = file.readlines()[:args.questions]
    (args.work / "questions.jsonl").write_text("".join(asked), encoding="utf-8")
    llm = ROOT / "models/word-problems-llm"
    cloud = subprocess.Popen(
        [args.program, "cloud", "--model", llm, "--bind", "127.0.0.1:0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    command = "python3 experiments/text-server/compare.py"
    if args.llama_server:
        command += " --llama-server target/llama-cpp/native/bin/llama-server"
    report = {"command": command, "questions": len(asked), "rows": []}
    llama, llama_url = llama_server(args) if args.llama_server else (None, None)
    try:
        url = next(word for line in cloud.stdout for word in line.split()
                   if word.startswith("http://")).rstrip(",;.")
        for tau in TAUS:
            ids = generate(args, llm, tau, [])
            ways = [("in process", llm, ["--through-text"]), ("cloud", url, ["--llm-api", "text"])]
            if llama:
                ways.append(("llama.cpp", llama_url, ["--llm-api", "text"]))
            for way, named, more in ways:
                row = {"tau": tau, "way": way,
                       "found": compare(ids, generate(args, named, tau, more))}
                report["rows"].append(row)
                print(json.dumps({**row, "found": {**row["found"], "where": None}}),
                      file=sys.stderr)
    finally:
        for server in filter(None, [cloud, llama]):
            server.terminate()
            server.wait()
    args.out.mkdir(parents=True, exist_ok=True)
    text = markdown(report)
    (args.out / "README.md").write_text(text, encoding="utf-8")
    (args.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
