#!/usr/bin/env python3
"""Labelling the way CITER's pipeline does, beside `tokenroute label`: questions an hour.

    HF_HUB_CACHE=... HF_HUB_OFFLINE=1 python3 experiments/citer/label.py
                                                  (or: just bench-citer)

Both label the same questions of experiments/csqa-qwen2.5-coder with the same weights. The loop
here is a script of our own on transformers, after CITER (arXiv 2502.01976, section 3.2): the LLM
answers with `generate`; at every position of that answer the SLM says its next token with one
call of `generate` that makes one token; where the two differ, the LLM finishes the answer after
the SLM's token with `generate`. The grade of the LLM's own answer stands for its token. The
weights are those of the GGUF files, dequantised to bfloat16, so that a few tokens may differ
from tokenroute's.

`tokenroute label` starts from nothing: no judgements, no round after the first. Loading is in
neither time. Writes label.md and label.json to reports/citer. Needs torch and transformers.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import tomllib

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "experiments/llama-cpp"))
from bench import machine  # noqa: E402
from real import cached, rendered  # noqa: E402

EXPERIMENT = ROOT / "experiments/csqa-qwen2.5-coder/experiment.toml"
REPORT = ROOT / "reports" / HERE.name


def prompts(experiment, count):
    """The first training questions as chat messages, with the experiment's examples."""
    data, prompt = experiment["data"], experiment["data"]["prompt"]
    before = [{"role": "system", "content": prompt["system"]}]
    for example in prompt["examples"]:
        text = rendered(prompt, example["question"], "ABCDE", example["choices"])
        before += [{"role": "user", "content": text},
                   {"role": "assistant", "content": example["answer"]}]
    file = cached(data["files"]["router-train"]["file"])
    for row in pyarrow.parquet.read_table(file).slice(0, count).to_pylist():
        text = rendered(prompt, row["question"], row["choices"]["label"], row["choices"]["text"])
        yield [*before, {"role": "user", "content": text}]


def load(reference):
    """A model and its tokenizer, from a GGUF file."""
    import torch
    import transformers
    transformers.utils.logging.set_verbosity_error()
    file = cached(reference)
    options = {"gguf_file": file.name}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        file.parent, dtype=torch.bfloat16, **options).eval()
    return model, transformers.AutoTokenizer.from_pretrained(file.parent, **options)


def generate(model, ids, tokens):
    """Greedy tokens after ids, as the published loop asks for them: one call, nothing kept."""
    import torch
    asked = torch.tensor([ids])
    with torch.inference_mode():
        made = model.generate(asked, attention_mask=torch.ones_like(asked), do_sample=False,
                              max_new_tokens=tokens, pad_token_id=0)
    return made[0, len(ids):].tolist()


def label(slm, llm, prompt, most):
    """Labels one question. Returns positions, differences and rollouts."""
    answer = generate(llm, prompt, most)
    differ = 0
    for position in range(len(answer)):
        token = generate(slm, prompt + answer[:position], 1)[0]
        if token != answer[position]:
            differ += 1
            left = most - position - 1
            if left > 0:
                generate(llm, prompt + answer[:position] + [token], left)
    return len(answer), differ


def loop(experiment, count):
    """Seconds of the loop, with its counts."""
    import torch
    import transformers
    torch.set_num_threads(os.cpu_count())
    slm, tokenizer = load(experiment["pair"]["slm"])
    llm, _ = load(experiment["pair"]["llm"])
    asked = [tokenizer.apply_chat_template(m, add_generation_prompt=True, return_dict=False)
             for m in prompts(experiment, count)]
    generate(slm, asked[0], 1)
    generate(llm, asked[0], 1)
    begin = time.perf_counter()
    counts = [label(slm, llm, prompt, experiment["data"]["max_tokens"]) for prompt in asked]
    return {"seconds": time.perf_counter() - begin, "positions": sum(c[0] for c in counts),
            "differ": sum(c[1] for c in counts), "prompt_tokens": sum(map(len, asked)),
            "versions": f"PyTorch {torch.__version__}, transformers {transformers.__version__}"}


def ours(program, count, work):
    """Seconds of `tokenroute label`, with the counts of its table."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    shutil.copy(EXPERIMENT, work)
    keys = [f"data.router_train={count}", "data.validation=1", "data.calibration=0", "data.test=1",
            "label.test=false", "label.rounds=0", f"label.questions_per_shard={count}"]
    sets = [part for key in keys for part in ("--set", key)]
    subprocess.run([program, "label", work / "experiment.toml", *sets], check=True,
                   stdout=subprocess.DEVNULL)
    took = json.loads((work / "run/labels/took.json").read_text())["seconds"]
    positions = differ = questions = 0
    for file in sorted((work / "run/labels").rglob("*.parquet")):
        table = pyarrow.parquet.read_table(file, columns=["question", "relation"])
        questions += len(set(table.column("question").to_pylist()))
        relations = table.column("relation").to_pylist()
        positions += len(relations)
        differ += sum(relation != "identical" for relation in relations)
    return {"seconds": took, "positions": positions, "differ": differ, "questions": questions}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=12)
    parser.add_argument("--work", type=Path, default=ROOT / "target/citer")
    parser.add_argument("--program", type=Path, default=Path(
        os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tokenroute")
    args = parser.parse_args()
    experiment = tomllib.loads(EXPERIMENT.read_text(encoding="utf-8"))
    mine = ours(args.program, args.questions, args.work)
    theirs = loop(experiment, args.questions)
    hourly = lambda way, questions: 3600 * questions / way["seconds"]
    rates = hourly(mine, mine["questions"]), hourly(theirs, args.questions)
    report = {"command": f"python3 experiments/citer/label.py --questions {args.questions}",
              "machine": machine(), "tokenroute": mine, "loop": theirs,
              "questions_an_hour": rates, "ratio": rates[0] / rates[1]}
    REPORT.mkdir(parents=True, exist_ok=True)
    (REPORT / "label.json").write_text(json.dumps(report, indent=1) + "\n")
    (REPORT / "label.md").write_text(f"""# Labelling, beside CITER's loop

Questions of CommonsenseQA with the pair of experiments/csqa-qwen2.5-coder, on {report['machine']['cpu']},
{report['machine']['cores']} threads. The loop is a script of our own on {theirs['versions']}: teacher forcing by
calls for one token, rollouts by `generate`, bfloat16. tokenroute also labels one question of
validation. Loading is in neither time. Made by

```sh
{report['command']}
```

| | questions | positions | where the models differ | seconds | questions an hour |
| --- | ---: | ---: | ---: | ---: | ---: |
| the loop | {args.questions} | {theirs['positions']} | {theirs['differ']} | {theirs['seconds']:.1f} | {rates[1]:.0f} |
| `tokenroute label` | {mine['questions']} | {mine['positions']} | {mine['differ']} | {mine['seconds']:.1f} | {rates[0]:.0f} |

tokenroute labels {report['ratio']:.1f} × as many questions an hour.
""", encoding="utf-8")
    print((REPORT / "label.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
