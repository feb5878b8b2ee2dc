#!/usr/bin/env python3
"""Checks that tokenroute gives the same tokens as llama.cpp, from files of llama.cpp's tools.

    python3 experiments/llama-cpp/parity.py           (or: just parity-llama-cpp)

Models are exported in f32 and quantised by llama-quantize. One more file is quantised by
`tokenroute export`. In f32, 256 greedy tokens are compared step by step on llama.cpp's path.
Steps at which its best two logits are less than 1e-3 apart are counted and left out. Quantised,
both read the same tokens. The report gives the agreement of the best token and the mean
Kullback-Leibler divergence, and the same for llama.cpp against itself at one token at a time.

The bundled pair reads its test questions. Models with random weights have Qwen2.5's widths, two
layers and the bundled vocabulary, and read random tokens. With --whole they have all layers and
151,936 tokens. --tokenizer FOLDER (a tokenizer that llama.cpp knows, such as Qwen2's) adds a
model with random weights that llama.cpp's convert_hf_to_gguf.py converts. --python names the
interpreter for it, which needs torch, transformers and sentencepiece.

Writes reports/parity-llama-cpp. Needs llama.cpp, built by peer.sh.
"""

import argparse
import array
import json
import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from bench import ROOT, machine, run

STEPS, CLOSE = 256, 1e-3
QUANTISED = ["Q8_0", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K"]
# Written by `tokenroute export`.
OWN = "q4_k"
# Name, and number of positions to compare when quantised.
BUNDLED = [("word-problems-slm", 192), ("word-problems-llm", 192)]
# Hidden and intermediate size, heads, key and value heads. Rows of the second model are whole
# blocks of 256, so K-quants fit all its matrices. In the first they fit the down projection only.
RANDOM = {"qwen2.5-0.5b": (896, 4864, 14, 2), "qwen2.5-1.5b": (1536, 8960, 12, 2)}
SIZES = ["hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"]
LAYERS, POSITIONS, WHOLE_POSITIONS = 2, 256, 24
SCRIPT = "convert_hf_to_gguf.py"


def pipe(command, ids):
    """Raw standard output of a command with ids on standard input."""
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
    """Compares our best tokens on llama.cpp's path, and counts how far free decoding agrees."""
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


def divergence(p, q):
    """KL(p || q) in nats, of log-probabilities."""
    return math.fsum(math.exp(a) * (a - b) for a, b in zip(p, q))


def forced(program, peer, model, plain, ids, threads):
    """Agreement of the best token and mean KL(llama.cpp || tokenroute), and the distance of both
    from `plain`, the same weights computed in f32."""
    raw, single = array.array("f"), array.array("f")
    raw.frombytes(pipe([peer / "logits", model, threads, "forced"], ids))
    single.frombytes(pipe([peer / "logits", model, threads, "single"], ids))
    width = len(raw) // len(ids)
    agree, gap, apart, our_noise, their_noise, sound = 0, 0.0, [], [], [], [0, 0]
    steady, own = 0, []
    said = step(program, model, ids, "--logits", "--top-k", 1)
    exact = step(program, plain, ids, "--logits", "--top-k", 1) if plain else said
    for i, (said, exact) in enumerate(zip(said, exact)):
        ours = said["logits"]
        assert len(ours) <= width, f"{len(ours)} logits, llama.cpp has {width}"
        # Logits beyond the vocabulary are left out.
        theirs, alone = (all[i * width:][:len(ours)] for all in (raw, single))
        best, second = sorted(theirs)[:-3:-1]
        if said["token"] == theirs.index(best):
            agree += 1
        else:
            gap = max(gap, best - second)
        p, q = log_softmax(theirs), log_softmax(ours)
        apart.append(divergence(p, q))
        steady += theirs.index(best) == alone.index(max(alone))
        own.append(divergence(p, log_softmax(alone)))
        if plain:
            truth = log_softmax(exact["logits"])
            sound[0] += said["token"] == exact["token"]
            sound[1] += theirs.index(best) == exact["token"]
            our_noise.append(divergence(truth, q))
            their_noise.append(divergence(truth, p))
    found = {"positions": len(ids), "agree": agree,
             "greatest_gap": gap, "mean_kl": math.fsum(apart) / len(ids),
             "greatest_kl": max(apart), "their_agree_single": steady,
             "their_kl_single": math.fsum(own) / len(ids)}
    if plain:
        found["our_kl_from_f32"] = math.fsum(our_noise) / len(ids)
        found["their_kl_from_f32"] = math.fsum(their_noise) / len(ids)
        found["our_agree_f32"], found["their_agree_f32"] = sound
    return found


def compare(program, peer, folder, work, ids, threads, converter=None):
    """Compares all types of one model, from a file by `converter` or by our own export."""
    exported, results = work / f"{folder.name}-export.gguf", {}
    if not exported.exists():
        command = converter or [program, "export", "--model", folder, "--type", "f32", "--out"]
        run([*command, exported])
    for kind in ["F32", *QUANTISED, OWN]:
        file = work / f"{folder.name}-{kind}.gguf"
        try:
            if not file.exists():
                run([program, "export", "--model", folder, "--type", kind, "--out", file]
                    if kind == OWN
                    else [peer / "native/bin/llama-quantize", exported, file, kind, threads])
            plain = None
            if kind == "F32":
                results[kind] = greedy(program, peer, file, ids[:24], threads)
            else:
                plain = work / "plain.gguf"
                run([peer / "native/bin/llama-quantize", "--allow-requantize", file, plain,
                     "F32", threads])
            found = forced(program, peer, file, plain, ids, threads)
            results.setdefault(kind, {}).update(found)
        except (RuntimeError, SystemExit) as error:
            # Some types do not fit some widths.
            results[kind] = {"error": str(error).strip().splitlines()[-1].rsplit(": ", 1)[-1]}
        print(folder.name, kind, results[kind], file=sys.stderr)
    return results


def random_model(program, name, work, whole):
    """Makes a model with random weights. Returns its folder and its number of tokens."""
    folder = work / (name if whole else f"{name}-{LAYERS}-layers")
    shape = ["--shape", name]
    if not whole:
        bundled = ROOT / "models/word-problems-llm"
        config = json.loads((bundled / "config.json").read_text(encoding="utf-8"))
        config.update(zip(SIZES, RANDOM[name]), num_hidden_layers=LAYERS)
        file = work / f"{name}.json"
        file.write_text(json.dumps(config), encoding="utf-8")
        shape = ["--config", file, "--tokenizer", bundled / "tokenizer.json"]
    if not (folder / "model.safetensors").exists():
        run([program, "random-model", *shape, "--out", folder])
    return folder, 151_000 if whole else 1_300


def converted_model(program, tokenizer, python, peer, work):
    """Makes a model with random weights in Qwen2.5-0.5B's width. Returns its folder, its number
    of tokens, and the command of llama.cpp's converter."""
    folder = work / "qwen2.5-0.5b-converted"
    if not (folder / "model.safetensors").exists():
        run([program, "random-model", "--shape", "qwen2.5-0.5b", "--layers", LAYERS,
             "--tokenizer", tokenizer / "tokenizer.json", "--out", folder])
        shutil.copy(tokenizer / "tokenizer_config.json", folder)
    sources = [peer / "source/vendor/llama.cpp", Path(os.environ.get("LLAMA_CPP_SOURCE", "."))]
    script = next((s / SCRIPT for s in sources if (s / SCRIPT).exists()), None)
    if script is None:
        sys.exit(f"{SCRIPT} is not in {sources[0]}; set LLAMA_CPP_SOURCE to a checkout of llama.cpp")
    return folder, 151_000, [python, script, folder, "--outtype", "f32", "--outfile"]


def share(found, agree, kl):
    return "-" if found.get(kl) is None else f"{found[agree]}, {found[kl]:.2e}"


def noise(found, whose):
    return share(found, f"{whose}_agree_f32", f"{whose}_kl_from_f32")


def markdown(report):
    lines = [
        "# tokenroute's tokens and llama.cpp's", "",
        f"Files are written by llama.cpp's `llama-quantize` ({report['peer']}), {OWN} by "
        f"`tokenroute export`. Both programs read them on {report['machine']['cpu']}. A published file, "
        "teacher-forced on real answers, is in [real.md](real.md).", "",
        f"- F32: {STEPS} greedy steps on llama.cpp's path. Steps at which its best two logits are "
        f"less than {CLOSE} apart are left out.",
        "- Other types: agreement of the best token at every position of one text; \"gap\" is the "
        "greatest distance of llama.cpp's best two logits where they disagree; KL(llama.cpp ‖ "
        "tokenroute) is in nats.",
        "- Both round activations to 8 bits in blocks of 32; llama.cpp uses blocks of 256 for "
        "K-quants. Rounding turns a difference in the last bit of a sum into a whole step, and "
        "random weights give many close logits.",
        "- \"llama.cpp and itself\": how often its best token stays the same when it reads one token "
        "at a time (another order of sums), and its mean KL.",
        "- tokenroute stores Q4_K and Q5_K in blocks of 32 with f16 scales and minima, and Q6_K as "
        "Q8_0.",
        "- The last two columns: how often each program gives the best token of the same weights "
        "computed in f32, and its mean KL from them.",
        f"- Files of a converted model are made from the output of llama.cpp's `{SCRIPT}`, the "
        "others from `tokenroute export`.", "",
        "Made by", "",
        "```sh", report["command"], "```", "",
        "| model | type | greedy steps | left out | differ | best token agrees | gap | mean KL | "
        "greatest KL | llama.cpp and itself | tokenroute and f32 | llama.cpp and f32 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for model, results in report["models"].items():
        for kind, found in results.items():
            if "error" in found:
                lines.append(f"| {model} | {kind} | - | - | - | {found['error']}{' | -' * 6} |")
                continue
            steps = [str(found.get(key, "-")) for key in ["steps", "close", "differ"]]
            lines.append(
                f"| {model} | {kind} | {' | '.join(steps)} | {found['agree']} of "
                f"{found['positions']} | {found['greatest_gap']:.3f} | {found['mean_kl']:.2e} | "
                f"{found['greatest_kl']:.2e} | "
                f"{share(found, 'their_agree_single', 'their_kl_single')} | {noise(found, 'our')} | {noise(found, 'their')} |")
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
    parser.add_argument("--bundled-only", action="store_true", help="leave out models with random weights")
    parser.add_argument("--whole", action="store_true", help="use random weights in the full size")
    parser.add_argument("--tokenizer", type=Path, help="add a model that llama.cpp converts, with this tokenizer")
    parser.add_argument("--python", default=sys.executable, help="interpreter for llama.cpp's converter")
    args = parser.parse_args()
    peer = args.peer.resolve()
    if not (peer / "logits").exists():
        sys.exit(f"llama.cpp is not in {peer}; bash experiments/llama-cpp/peer.sh builds it")
    args.work.mkdir(parents=True, exist_ok=True)
    known = peer / "version"
    report = {
        "command": "python3 experiments/llama-cpp/parity.py" + " --whole" * args.whole
                   + " --tokenizer FOLDER --python PYTHON" * bool(args.tokenizer),
        "machine": machine(),
        "peer": known.read_text().strip() if known.exists() else "a given checkout", "models": {},
    }
    for name, positions in BUNDLED:
        folder = ROOT / "models" / name
        ids = text_ids(args.program, folder, positions)
        report["models"][name] = compare(args.program, peer, folder, args.work, ids, args.threads)
    for name in [] if args.bundled_only else RANDOM:
        folder, tokens = random_model(args.program, name, args.work, args.whole)
        positions = WHOLE_POSITIONS if args.whole else POSITIONS
        ids = random.Random(1).choices(range(tokens), k=positions)
        what = "random" if args.whole else f"random, {LAYERS} layers"
        report["models"][f"{name}, {what}"] = compare(
            args.program, peer, folder, args.work, ids, args.threads)
    if args.tokenizer:
        folder, tokens, converter = converted_model(
            args.program, args.tokenizer.resolve(), args.python, peer, args.work)
        ids = random.Random(1).choices(range(tokens), k=WHOLE_POSITIONS)
        report["models"]["qwen2.5-0.5b, random, converted"] = compare(
            args.program, peer, folder, args.work, ids, args.threads, converter)
    args.out.mkdir(parents=True, exist_ok=True)
    text = markdown(report)
    (args.out / "README.md").write_text(text, encoding="utf-8")
    (args.out / "results.json").write_text(json.dumps(report, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
