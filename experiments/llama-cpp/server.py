#!/usr/bin/env python3
"""Checks that an LLM on llama.cpp's server gives the same tokens as in process.

    python3 experiments/llama-cpp/server.py           (or: just parity-llama-server)

The bundled LLM is exported to GGUF in F32 and served by llama-server. The bundled test questions
are decoded with it and with the LLM in process: at 8 values of τ, with speculation, in relays, and
through the server's OpenAI API, which answers with text. Answers are compared token by token. A
routed position at which the server's best two logits are less than 1e-3 apart is counted as close.
If the two choose differently there, the rest of the answer is left out. Any other difference is a
failure.

Writes reports/parity-llama-server. Needs llama.cpp, built by peer.sh, and the router that
`tokenroute run` makes for the quickstart.
"""

import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench import ROOT, machine, run

CLOSE = 1e-3
TAUS = ["0", "0.5", "0.8", "0.9", "0.95", "0.99", "0.999", "1"]
# τ, options of the runtime, and options for the server alone.
MORE = [("0.99", ["--speculate", "3"], []), ("0.99", ["--relay", "4"], []),
        ("1", ["--relay", "16"], []), ("0.99", [], ["--llm-api", "openai"])]
TEXT_ALONE = ["--llm-api", "openai"]


class Peer:
    """A llama-server process, and one connection to it."""

    def __init__(self, program, model, slots, threads, log):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [program, "--model", model, "--host", "127.0.0.1", "--port", self.port,
                   "--parallel", slots, "--ctx-size", slots * 512, "--threads", threads,
                   "--threads-batch", threads]
        self.log = open(log, "w", encoding="utf-8")
        self.process = subprocess.Popen([str(part) for part in command], stdout=self.log,
                                        stderr=subprocess.STDOUT)
        self.url, self.connection = f"http://127.0.0.1:{self.port}", None
        self.gaps = {}
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit(f"llama-server ended with {self.process.returncode}; see {log}")
            try:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port)
                self.connection.request("GET", "/health")
                reply = self.connection.getresponse()
                reply.read()
                if reply.status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        sys.exit(f"llama-server is not ready after 60 s; see {log}")

    def gap(self, context):
        """The distance of the server's best two logits after `context`, and its best token."""
        context = tuple(context)
        if context not in self.gaps:
            body = {"prompt": context, "n_predict": 1, "temperature": 0, "n_probs": 2,
                    "return_tokens": True, "cache_prompt": True}
            try:
                reply = self.ask(body)
            except OSError:
                # The server closes idle connections.
                self.connection.close()
                reply = self.ask(body)
            best, second = reply["completion_probabilities"][0]["top_logprobs"]
            self.gaps[context] = (best["logprob"] - second["logprob"], best["id"])
        return self.gaps[context]

    def ask(self, body):
        self.connection.request("POST", "/completion", json.dumps(body),
                                {"content-type": "application/json"})
        return json.loads(self.connection.getresponse().read())

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


def generate(args, llm, tau, more):
    """The answers with their costs, and the seconds that they took."""
    command = [args.program, "generate", "--slm", ROOT / "models/word-problems-slm", "--llm", llm,
               "--router", args.router, "--tau", tau, "--questions", args.work / "questions.jsonl",
               "--json", *more]
    start = time.monotonic()
    done = subprocess.run([str(part) for part in command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()], time.monotonic() - start


def timeless(token):
    """A token without the field that depends on timing."""
    return {name: value for name, value in token.items() if name != "speculated"}


def compare(peer, here, there, text_alone):
    """Counts positions that are the same, close, left out, degraded or different."""
    found = {"tokens": 0, "routed": 0, "close": 0, "same": 0, "cut": 0, "degraded": 0, "differ": 0}
    for ours, theirs in zip(here, there, strict=True):
        a, b = (list(map(timeless, answer["trace"]["tokens"])) for answer in (ours, theirs))
        found["tokens"] += len(a)
        found["degraded"] += theirs["degraded"]
        context = list(ours["prompt"])
        for at, token in enumerate(a):
            other = b[at] if at < len(b) else None
            gap = None
            if token["origin"] == "llm":
                found["routed"] += 1
                gap, _ = peer.gap(context)
                found["close"] += gap < CLOSE
            if token == other:
                found["same"] += 1
                context.append(token["token"])
                continue
            # A token that text does not determine is degraded. The answers differ from there on.
            excused = other is not None and (
                gap is not None and gap < CLOSE
                or text_alone and other["origin"] == "degraded"
                and other["cause"] == "bad-reply")
            found["differ"] += not excused
            found["cut"] += len(a) - at
            break
        else:
            found["differ"] += len(b) > len(a)
    return found


def cost(answers):
    total = {name: sum(answer[name] for answer in answers)
             for name in ["llm_calls", "llm_positions"]}
    tokens = sum(len(answer["tokens"]) for answer in answers)
    offloaded = sum(t["origin"] == "llm" for a in answers for t in a["trace"]["tokens"])
    return {**total, "tokens": tokens, "offload": offloaded / tokens,
            "accuracy": sum(answer["correct"] for answer in answers) / len(answers)}


def markdown(report):
    lines = [
        "# The bundled pair with its LLM on llama.cpp's server", "",
        f"`llama-server` ({report['peer']}; {report['slots']} slots) with the bundled LLM in F32 "
        f"on {report['machine']['cpu']}; {report['questions']} test questions, greedy. Every row "
        "decodes them with the LLM in process and over HTTP, and compares the answers token by "
        "token.", "",
        f"- \"Close\": routed positions at which the server's best two logits are less than {CLOSE} "
        "apart.",
        "- \"Left out\": tokens after a different choice at a close position. In the last row also "
        "tokens after a text that does not determine one token: the boundary rule accepts none, "
        "and the small model's token is kept.",
        "- LLM positions: in process / on the server, by the server's count. It keeps prompts from "
        "row to row.", "",
        "Made by", "", "```sh", report["command"], "```", "",
        "| τ | decoding | offload | tokens | by the LLM | close | same | left out | degraded | "
        "**differ** | LLM calls | LLM positions | accuracy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in report["rows"]:
        found, here, there = row["found"], row["here"], row["there"]
        lines.append(
            f"| {row['tau']} | {row['decoding']} | {here['offload']:.1%} | {found['tokens']} | "
            f"{found['routed']} | {found['close']} | {found['same']} | {found['cut']} | "
            f"{found['degraded']} | **{found['differ']}** | {there['llm_calls']} | "
            f"{here['llm_positions']} / {there['llm_positions']} | "
            f"{here['accuracy']:.3f} / {there['accuracy']:.3f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=ROOT / "target/llama-cpp")
    parser.add_argument("--work", type=Path, default=ROOT / "target/parity-llama-cpp")
    parser.add_argument("--program", type=Path, default=Path(
        os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tokenroute")
    parser.add_argument("--router", type=Path,
                        default=ROOT / "experiments/quickstart/run/router/router.safetensors")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/parity-llama-server")
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    # The client has as many connections.
    parser.add_argument("--slots", type=int, default=16)
    args = parser.parse_args()
    server = args.peer.resolve() / "native/bin/llama-server"
    for needed, maker in [(server, "bash experiments/llama-cpp/peer.sh"),
                          (args.router, "tokenroute run experiments/quickstart/experiment.toml")]:
        if not needed.exists():
            sys.exit(f"{needed} does not exist; make it with: {maker}")
    args.work.mkdir(parents=True, exist_ok=True)
    with open(ROOT / "datasets/word-problems/test.jsonl", encoding="utf-8") as file:
        asked = file.readlines()[:args.questions]
    (args.work / "questions.jsonl").write_text("".join(asked), encoding="utf-8")
    folder, gguf = ROOT / "models/word-problems-llm", args.work / "word-problems-llm-export.gguf"
    run([args.program, "export", "--model", folder, "--type", "f32", "--out", gguf])
    known = args.peer / "version"
    report = {
        "command": f"python3 experiments/llama-cpp/server.py --questions {len(asked)}",
        "machine": machine(),
        "peer": known.read_text().strip() if known.exists() else "a given checkout",
        "slots": args.slots, "questions": len(asked), "rows": [],
    }
    peer = Peer(server, gguf, args.slots, args.threads, args.work / "llama-server.log")
    try:
        for tau, policy, remote in [(tau, [], []) for tau in TAUS] + MORE:
            here, _ = generate(args, folder, tau, policy)
            there, seconds = generate(args, peer.url, tau, policy + remote)
            found = compare(peer, here, there, remote == TEXT_ALONE)
            named = " ".join(policy + remote).replace("--llm-api openai", "text alone")
            row = {"tau": tau, "decoding": named or "blocking", "here": cost(here),
                   "there": cost(there), "found": found, "seconds": seconds}
            report["rows"].append(row)
            print(json.dumps(row), file=sys.stderr)
    finally:
        peer.stop()
    args.out.mkdir(parents=True, exist_ok=True)
    text = markdown(report)
    (args.out / "README.md").write_text(text, encoding="utf-8")
    (args.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    print(text)
    differ = sum(row["found"]["differ"] for row in report["rows"])
    if differ:
        sys.exit(f"{differ} positions differ")


if __name__ == "__main__":
    main()
