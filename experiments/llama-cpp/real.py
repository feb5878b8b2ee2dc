#!/usr/bin/env python3
"""Checks a published file against llama.cpp, teacher-forced on answers to real questions.

    HF_HUB_CACHE=... HF_HUB_OFFLINE=1 python3 experiments/llama-cpp/real.py
                                                  (or: just parity-real)

The model is the SLM of experiments/csqa-qwen2.5-coder. It answers the first calibration
questions, in its chat format. Both programs then read question and answer. Compared is what
they say at every position of the answer: the best token, and the Kullback-Leibler divergence of
tokenroute from llama.cpp. The same is stated for llama.cpp against itself, reading one token at
a time, which is what another order of sums changes.

Writes real.md and real.json to reports/parity-llama-cpp. Needs numpy, pyarrow, and llama.cpp,
built by peer.sh.
"""

import argparse
import json
import os
import sys
import tomllib
from pathlib import Path

import numpy
import pyarrow.parquet

from bench import ROOT, machine, run
from parity import pipe

EXPERIMENT = ROOT / "experiments/csqa-qwen2.5-coder/experiment.toml"


def cached(reference):
    """The file of an hf: reference in the Hub's cache."""
    name, path = reference.removeprefix("hf:").rsplit(":", 1)
    name, _, commit = name.partition("@")
    kind = "datasets" if name.startswith("datasets/") else "models"
    repository = name.removeprefix("datasets/").replace("/", "--")
    cache = Path(os.environ.get("HF_HUB_CACHE", Path.home() / ".cache/huggingface/hub"))
    folder = cache / f"{kind}--{repository}"
    if not commit:
        commit = (folder / "refs/main").read_text().strip()
    file = folder / "snapshots" / commit / path
    if not file.exists():
        sys.exit(f"{reference} is not in the cache ({file}); `tokenroute run {EXPERIMENT}` loads it")
    return file


def rendered(prompt, question, labels, texts):
    """A question with its choices, as an experiment's `[data.prompt]` writes it."""
    choices = prompt["separator"].join(
        prompt["choice"].format(label=label, text=text) for label, text in zip(labels, texts))
    return prompt["template"].lstrip("\n").format(question=question, choices=choices)


def prompts(experiment, count):
    """The first calibration questions in Qwen2.5's chat format, without examples."""
    data, prompt = experiment["data"], experiment["data"]["prompt"]
    split = data["files"]["calibration"]
    rows = pyarrow.parquet.read_table(cached(split["file"])).slice(split["skip"], count).to_pylist()
    for row in rows:
        text = rendered(prompt, row["question"], row["choices"]["label"], row["choices"]["text"])
        yield (f"<|im_start|>system\n{prompt['system']}<|im_end|>\n"
               f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")


def log_softmax(logits):
    logits = logits.astype(numpy.float64) - logits.max()
    return logits - numpy.log(numpy.exp(logits).sum())


def divergence(p, q):
    """KL(p || q) in nats, of log-probabilities."""
    return float((numpy.exp(p) * (p - q)).sum())


def compare(program, peer, model, ids, first, threads):
    """What both say from position `first` on: one entry for each position."""
    both = [numpy.frombuffer(pipe([peer / "logits", model, threads, how], ids), numpy.float32)
            .reshape(len(ids), -1) for how in ["forced", "single"]]
    said = json.loads(run([program, "step", "--model", model, "--ids", ",".join(map(str, ids)),
                           "--from", first, "--logits", "--top-k", 1, "--json"]))
    for step in said:
        ours = numpy.array(step["logits"])
        # Logits beyond the vocabulary are left out.
        theirs, alone = (all[step["position"], :len(ours)] for all in both)
        second, best = numpy.partition(theirs, -2)[-2:]
        p = log_softmax(theirs)
        yield {
            "agree": step["token"] == int(theirs.argmax()),
            "gap": float(best - second),
            "kl": divergence(p, log_softmax(ours)),
            "their_agree": int(alone.argmax()) == int(theirs.argmax()),
            "their_kl": divergence(p, log_softmax(alone)),
        }


def markdown(report):
    total = report["positions"]
    gaps = report["gaps_where_different"]
    return f"""# A published file, tokenroute against llama.cpp

`{report['model']}` answered {report['answers']} calibration questions of CommonsenseQA. Both
programs then read questions and answers ({report['peer']}, {report['machine']}).
Compared are the {total} positions of the answers. KL is KL(llama.cpp ‖ tokenroute) in nats. The
last row is llama.cpp against itself, one token at a time.

Made by

```sh
{report['command']}
```

| | best token agrees | mean KL | greatest KL |
| --- | --- | --- | --- |
| tokenroute | {report['agree']} of {total} ({100 * report['agree'] / total:.1f}%) | {report['mean_kl']:.2e} | {report['greatest_kl']:.2e} |
| llama.cpp, one token at a time | {report['their_agree']} of {total} ({100 * report['their_agree'] / total:.1f}%) | {report['their_mean_kl']:.2e} | {report['their_greatest_kl']:.2e} |

Where the best tokens differ, llama.cpp's best two logits are {', '.join(f'{gap:.3f}' for gap in gaps) or '-'} apart.
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=ROOT / "target/llama-cpp")
    parser.add_argument("--program", type=Path, default=Path(
        os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tokenroute")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/parity-llama-cpp")
    parser.add_argument("--answers", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    peer = args.peer.resolve()
    if not (peer / "logits").exists():
        sys.exit(f"llama.cpp is not in {peer}; bash experiments/llama-cpp/peer.sh builds it")
    experiment = tomllib.loads(EXPERIMENT.read_text(encoding="utf-8"))
    model, program = cached(experiment["pair"]["slm"]), args.program
    found = []
    for text in prompts(experiment, args.answers):
        said = json.loads(run([program, "step", "--model", model, "--text", text.replace("\n", "\\n"),
                               "--top-k", 1, "--json"]))
        prompt = [position["input"] for position in said]
        answer = json.loads(run([program, "generate", "--model", model, "--ids",
                                 ",".join(map(str, prompt)), "--max-tokens",
                                 experiment["data"]["max_tokens"], "--json"]))["tokens"]
        found += compare(program, peer, model, prompt + answer[:-1], len(prompt) - 1, args.threads)
        print(f"{len(found)} positions", file=sys.stderr)
    known = peer / "version"
    total = len(found)
    report = {
        "command": "python3 experiments/llama-cpp/real.py",
        "machine": machine()["cpu"],
        "peer": known.read_text().strip() if known.exists() else "a given checkout",
        "model": model.name, "answers": args.answers, "positions": total,
        "agree": sum(f["agree"] for f in found),
        "mean_kl": sum(f["kl"] for f in found) / total,
        "greatest_kl": max(f["kl"] for f in found),
        "their_agree": sum(f["their_agree"] for f in found),
        "their_mean_kl": sum(f["their_kl"] for f in found) / total,
        "their_greatest_kl": max(f["their_kl"] for f in found),
        "gaps_where_different": sorted(f["gap"] for f in found if not f["agree"]),
    }
    text = markdown(report)
    (args.out / "real.md").write_text(text, encoding="utf-8")
    (args.out / "real.json").write_text(json.dumps(report, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
