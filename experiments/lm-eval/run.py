#!/usr/bin/env python3
"""Runs lm-evaluation-harness on `tokenroute serve` and `tokenroute cloud`, as it comes.

    python3 experiments/lm-eval/run.py

Needs the packages lm-eval, torch and transformers in this Python, and nothing from the network. Exit
status 77 means that they are missing.

- `local-chat-completions` generates answers on `serve`, at each τ of --taus. The harness's grade of
  each question must be the one of the exact sweep at this τ.
- `local-completions` chooses answers by log-likelihood on `cloud`. Each log-likelihood must be within
  1e-3 of that of the harness's own `hf` on the same weights, and the choices the same.

Both get the first --questions test questions. A difference ends with status 1. Writes reports/lm-eval.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
MISSING = 77
TOLERANCE = 1e-3
SLM, LLM = (ROOT / "models" / name for name in ["word-problems-slm", "word-problems-llm"])


def harness(args, name, model, model_args, task, *more):
    """One run of lm_eval. Its samples by question, in the order of the file."""
    out = args.work / name
    folder = out / str(time.time_ns())
    command = [sys.executable, "-m", "lm_eval", "--model", model, "--model_args", model_args,
               "--include_path", HERE / "tasks", "--tasks", task, "--limit", args.questions,
               "--log_samples", "--output_path", folder, *more]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1",
                                "HF_DATASETS_CACHE": str(args.work / "datasets")}
    started = time.time()
    done = subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    samples = sorted(folder.rglob(f"samples_{task}_*.jsonl"))
    if done.returncode != 0 or len(samples) != 1:
        sys.exit(f"lm_eval fails on {name}:\n{done.stdout[-3000:]}")
    with open(samples[0], encoding="utf-8") as file:
        found = sorted((json.loads(line) for line in file), key=lambda sample: sample["doc_id"])
    if len(found) != args.questions:
        sys.exit(f"lm_eval gives {len(found)} samples on {name}; expected {args.questions}")
    return found, time.time() - started


class Served:
    """A server of tokenroute, its name and its URL."""

    def __init__(self, args, *command):
        parts = [str(part) for part in [args.program, "--quiet", *command, "--bind", "127.0.0.1:0"]]
        self.process = subprocess.Popen(parts, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline().strip()
        if " at " not in line:
            sys.exit(f"{' '.join(parts)} does not start")
        self.name, self.url = line.split(" at ")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


def swept(run, tau):
    """The exact sweep's grade and tokens of every test question at τ."""
    import pyarrow.parquet as parquet

    found = {}
    for piece in parquet.read_table(run / "sweep/curves.parquet").to_pylist():
        if piece["policy"] != "router" or piece["split"] != "test":
            continue
        # Pieces rise, and each one holds up to its end.
        if piece["question"] not in found and tau <= piece["end"]:
            found[piece["question"]] = piece
    return found


def generation(args, tau):
    """The harness on `serve` at τ, beside the sweep."""
    run = args.experiment.parent / "run"
    router = run / "router/router.safetensors"
    with Served(args, "serve", "--slm", SLM, "--llm", LLM, "--router", router, "--tau", tau) as server:
        model = f"model={server.name},base_url={server.url}/v1/chat/completions,num_concurrent=4"
        samples, seconds = harness(args, f"serve-{tau}", "local-chat-completions", model,
                                   "word_problems", "--apply_chat_template")
    known = swept(run, float(tau))
    row = {"tau": float(tau), "questions": len(samples), "seconds": round(seconds, 1), "differ": []}
    row["harness_right"] = sum(sample["exact_match"] == 1.0 for sample in samples)
    pieces = [known[sample["doc"]["id"]] for sample in samples]
    row["sweep_right"] = sum(piece["correct"] for piece in pieces)
    made = sum(piece["generated"] for piece in pieces)
    row["sweep_offload"] = sum(piece["offloaded"] for piece in pieces) / made
    for sample, piece in zip(samples, pieces):
        if (sample["exact_match"] == 1.0) != piece["correct"]:
            row["differ"].append({"question": piece["question"], "answer": sample["resps"][0][0],
                                  "harness": sample["exact_match"], "sweep": piece["correct"]})
    return row


def likelihoods(samples):
    """The log-likelihood of every choice, and whether it is the greedy text."""
    return [[(float(answer[0][0]), answer[0][1] in (True, "True")) for answer in sample["resps"]]
            for sample in samples]


def choice(args):
    """The harness on `cloud`, beside its own `hf`."""
    task = "word_problems_at_once"
    with Served(args, "cloud", "--model", LLM) as server:
        model = (f"model={server.name},base_url={server.url}/v1/completions,tokenizer={LLM},"
                 f"tokenizer_backend=huggingface,num_concurrent=1")
        ours, seconds = harness(args, "cloud", "local-completions", model, task, "--batch_size", 8)
    theirs, _ = harness(args, "hf", "hf", f"pretrained={LLM},dtype=float32", task, "--device", "cpu")
    pairs = [(a, b) for x, y in zip(likelihoods(ours), likelihoods(theirs)) for a, b in zip(x, y)]
    return {
        "questions": len(ours), "seconds": round(seconds, 1), "likelihoods": len(pairs),
        "greatest_difference": max(abs(a[0] - b[0]) for a, b in pairs),
        "greedy_differ": sum(a[1] != b[1] for a, b in pairs),
        "cloud_right": sum(sample["acc"] for sample in ours),
        "hf_right": sum(sample["acc"] for sample in theirs),
        "choices_differ": sum(a["acc"] != b["acc"] for a, b in zip(ours, theirs)),
    }


def markdown(report):
    lines = [
        "# lm-evaluation-harness on the bundled pair", "",
        f"lm-eval {report['versions']['lm_eval']} drives `tokenroute serve` and `tokenroute cloud` as it "
        "comes, with the task files in `experiments/lm-eval/tasks`. Made by", "",
        "```sh", report["command"], "```", "",
        "## Generation on `serve`", "",
        "`local-chat-completions`, greedy. The harness grades each answer by its regular expression. The "
        "exact sweep has graded the same questions at the same τ.", "",
        "| τ | questions | right, harness | right, sweep | **grades that differ** | offload, sweep |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in report["generation"]:
        lines.append(f"| {row['tau']:g} | {row['questions']} | {row['harness_right']} | {row['sweep_right']} | "
                     f"**{len(row['differ'])}** | {100 * row['sweep_offload']:.1f}% |")
    found = report["choice"]
    lines += [
        "", "## Multiple choice on `cloud`", "",
        "`local-completions` with `echo` and `logprobs`, 8 prompts in a request, on the large model. Beside "
        "it the harness's own `hf` on the same weights in f32.", "",
        "| questions | log-likelihoods | greatest difference | greedy flags that differ | right, `cloud` | "
        "right, `hf` | **choices graded otherwise** |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| {found['questions']} | {found['likelihoods']} | {found['greatest_difference']:.1e} | "
        f"{found['greedy_differ']} | {found['cloud_right']:g} | {found['hf_right']:g} | "
        f"**{found['choices_differ']}** |", "",
    ]
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path(
        os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tokenroute")
    parser.add_argument("--experiment", type=Path, default=HERE / "experiment.toml")
    parser.add_argument("--work", type=Path, default=ROOT / "target/lm-eval")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/lm-eval")
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--taus", default="0,0.5,0.9,0.99,1")
    args = parser.parse_args()
    for package in ["lm_eval", "torch", "transformers", "pyarrow", "aiohttp", "tenacity"]:
        if importlib.util.find_spec(package) is None:
            print(f"the package {package} is not installed; pip install 'lm-eval[hf,api]'", file=sys.stderr)
            sys.exit(MISSING)
    if not args.program.exists():
        sys.exit(f"{args.program} does not exist; make it with: cargo build --release")
    args.work = args.work.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    for stage in ["label", "train", "sweep"]:
        command = [str(args.program), "--quiet", stage, str(args.experiment)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    versions = {name: importlib.metadata.version(name) for name in ["lm_eval", "transformers", "torch"]}
    command = " ".join(["python3", "experiments/lm-eval/run.py", *sys.argv[1:]])
    report = {"command": command, "versions": versions}
    report["generation"] = [generation(args, tau) for tau in args.taus.split(",")]
    report["choice"] = choice(args)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    (args.out / "README.md").write_text(markdown(report))
    print(markdown(report))
    differ = sum(len(row["differ"]) for row in report["generation"])
    found = report["choice"]
    if differ or found["choices_differ"] or found["greatest_difference"] > TOLERANCE:
        sys.exit("the harness's figures differ from ours")


if __name__ == "__main__":
    main()
