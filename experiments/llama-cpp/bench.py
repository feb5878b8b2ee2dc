#!/usr/bin/env python3
"""Measures tokenroute and llama.cpp on one machine, in turns, with the same GGUF files.

    python3 experiments/llama-cpp/bench.py            (or: just bench-edge)

The models have random weights in Qwen2.5-0.5B's shape, in Q8_0 and Q4_0. The cases are the
decoding of one sequence, the prefill of 512 tokens, and the decoding of 8 sequences together.
Each is measured with all instructions of the machine, with AVX2 alone, and beside busy processes
that take half of the time. Also measured is the share that a router of 896-1792-896-1 adds to a
step. With --torch PYTHON, a Python with torch and transformers, PyTorch's prefill in bf16 is
measured too. With --files, published GGUF files are measured in the settings `real` and
`real-avx2`, with the time and memory of a start that makes one token. Writes reports/bench-edge;
settings that are not measured stay unchanged there. Without llama.cpp (built by peer.sh), only tokenroute is measured.
"""

import argparse
import json
import math
import os
import platform
import random
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

from bench_report import CASES, SEQUENCES, SETTINGS, SHAPE, START, markdown

ROOT = Path(__file__).resolve().parents[2]
# CITER's head on the hidden state, 8 log-probabilities, the margin and the entropy.
HIDDEN, TOP_K, WIDTHS = 896, 8, [1792, 896]


def run(command, **env):
    """Standard output of a command that must succeed."""
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def prepare(work):
    """The program, and a GGUF file for each format, made once."""
    subprocess.run(["cargo", "build", "--release", "--locked", "-p", "tokenroute",
                    "--no-default-features", "--features", "cli"], cwd=ROOT, check=True)
    program = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/tokenroute"
    model = work / SHAPE
    if not (model / "model.safetensors").exists():
        run([program, "random-model", "--shape", SHAPE, "--out", model])
    files = {}
    for weights in ["q8_0", "q4_0"]:
        files[weights] = work / f"{SHAPE}-{weights}.gguf"
        if not files[weights].exists():
            run([program, "export", "--model", model, "--type", weights, "--out", files[weights]])
    router = work / "router.safetensors"
    if not router.exists():
        write_router(router)
    return program, model, files, router


def write_router(path):
    """A router file with random weights, for timing only."""
    features = HIDDEN + TOP_K + 2
    noise = random.Random(0)
    sizes = [features, *WIDTHS, 1]
    tensors, data = {}, b""
    for i, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        for name, shape in [("weight", [outputs, inputs]), ("bias", [outputs])]:
            values = [noise.uniform(-0.05, 0.05) for _ in range(math.prod(shape))]
            begin = len(data)
            data += struct.pack(f"<{len(values)}f", *values)
            tensors[f"layers.{i}.{name}"] = {
                "dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    header = {
        "format": 1, "architecture": {"kind": "mlp", "widths": WIDTHS, "activation": "relu",
                                      "rewards": 1},
        "features": {"hidden": HIDDEN, "top_k": TOP_K},
        "normalisation": {"mean": [0.0] * features, "scale": [1.0] * features},
        "platt": {"scale": 1.0, "bias": 0.0}, "slm_hash": "", "llm_hash": "",
        "tokenizer_hash": "", "labels_hash": "", "calibration": [],
        "training": {"seed": 0, "epochs": 0, "best_epoch": 0, "rows": [0, 0],
                     "validation_loss": 0.0, "auroc": 0.0, "auprc": 0.0, "ece_before": 0.0,
                     "ece_after": 0.0, "positive_rate_at_recall_95": 0.0},
    }
    tensors["__metadata__"] = {"tokenroute.router": json.dumps(header)}
    text = json.dumps(tensors).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def ours(program, file, router, setting, args):
    env = {"TOKENROUTE_ISA": setting["isa"]} if setting["isa"] else {}
    report = json.loads(run(
        [program, "--quiet", "bench", "--model", file, "--threads", args.threads, "--prefill",
         setting["prefill"], "--decode", setting["decode"], "--sequences", SEQUENCES, "--repeat",
         args.repeat, *(["--router", router] if plain(setting) else []), "--json"], **env))
    rates = {case["case"]: case["tokens_per_second"]["median"] for case in report["cases"]}
    return rates, report


def theirs(peer, file, setting, args):
    """llama.cpp's medians, with fused or plain attention, whichever is faster."""
    tools = peer / setting["build"] / "bin"
    common = ["-m", file, "-t", args.threads]
    tests = json.loads(run(
        [tools / "llama-bench", *common, "-p", setting["prefill"], "-n", setting["decode"], "-fa", "on,off",
         "-r", args.repeat, "-o", "json"]))
    median = lambda test: statistics.median(test["samples_ts"])
    together = []
    for attention in ["on", "off"]:
        lines = run([tools / "llama-batched-bench", *common, "-c", 4096, "-npp", 40, "-ntg",
                     setting["decode"], "-npl", SEQUENCES, "-fa", attention,
                     "--output-format", "jsonl"]).splitlines()
        rows = [json.loads(line) for line in lines if line.startswith("{")]
        together.append(rows[-1]["speed_tg"])
    return {
        "decode": max(median(t) for t in tests if t["n_gen"] > 0),
        "prefill": max(median(t) for t in tests if t["n_prompt"] > 0),
        "sequences": max(together),
    }


def cost(command):
    """Seconds and peak resident bytes of a process."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.stdin.write(" ".join(map(str, START)).encode())
    process.stdin.close()
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command[0]} ended with status {status}")
    return time.perf_counter() - begin, used.ru_maxrss * 1024


def start(program, peer, file, args):
    """Time and memory of a process that loads a file, reads 16 tokens and makes one, in turns
    after one for the page cache."""
    ours = [program, "generate", "--model", file, "--ids", ",".join(map(str, START)),
            "--max-tokens", "1"]
    theirs = [peer / "logits", file, args.threads, "greedy", 1]
    rounds = [(cost(ours), cost(theirs)) for _ in range(args.alternations + 1)][1:]
    seconds, peak = (([mine[i] for mine, _ in rounds], [other[i] for _, other in rounds])
                     for i in range(2))
    return {name: {"tokenroute": summary(mine), "llama_cpp": summary(other),
                   "ratio": ratio(mine, other)}
            for name, (mine, other) in [("seconds", seconds), ("peak_rss", peak)]}


def torch_prefill(model, setting, args):
    """PyTorch's rate in bf16 with all instructions; with AMX, also limited to AVX-512."""
    cpu = Path("/proc/cpuinfo")
    kinds = {"PyTorch bf16": {}}
    if cpu.exists() and "amx_bf16" in cpu.read_text():
        kinds = {"PyTorch bf16, AMX": {},
                 "PyTorch bf16, AVX-512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}}
    script = Path(__file__).with_name("prefill.py")
    found = {}
    for kind, env in kinds.items():
        said = json.loads(run([args.torch, script, model, args.threads, setting["prefill"],
                               max(args.repeat, 3)], **env))
        found[kind] = (statistics.median(said["rates"]), said["versions"])
    return found


def busy(count):
    return [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]


def measure(prepared, peer, weights, setting, args):
    """One setting and format, in turns."""
    program, model, files, router = prepared
    file = files[weights]
    ends = busy(args.threads) if setting["load"] else []
    rounds = []
    try:
        for _ in range(args.alternations):
            rates, report = ours(program, file, router, setting, args)
            other = theirs(peer, file, setting, args) if peer else None
            torch = torch_prefill(model, setting, args) if args.torch and plain(setting) else {}
            rounds.append((rates, other, torch, report))
    finally:
        for process in ends:
            process.kill()
            process.wait()
    rows = []
    last = rounds[-1][-1]
    bandwidth = statistics.median(report["read_bandwidth"] for *_, report in rounds)
    for case in CASES:
        mine = [rates[case] for rates, *_ in rounds]
        row = {"case": case, "tokenroute": summary(mine)}
        steps = {"decode": 1, "sequences": SEQUENCES}.get(case)
        share = lambda rate: last["bytes_per_token"] * rate / steps / bandwidth if steps else None
        row["of_bandwidth"] = share(row["tokenroute"]["median"])
        row["of_product_limit"] = products(rounds, case)
        if peer:
            peers = [rates[case] for _, rates, *_ in rounds]
            row["llama_cpp"] = summary(peers)
            row["llama_cpp_of_bandwidth"] = share(row["llama_cpp"]["median"])
            row["ratio"] = ratio(mine, peers)
        rows.append(row)
    torch = []
    for kind in rounds[0][2]:
        peers = [torch[kind][0] for *_, torch, _ in rounds]
        mine = [rates["prefill"] for rates, *_ in rounds]
        torch.append({"kind": kind, "versions": rounds[0][2][kind][1], "prefill": summary(peers),
                      "ratio": ratio(mine, peers)})
    routing = [report["routing"] for *_, report in rounds if report["routing"]]
    middle = lambda key: summary([one[key]["median"] for one in routing])
    routing = routing and {"layers": routing[0]["layers"], "adds": middle("adds"),
                           "score_microseconds": middle("score_microseconds")}
    keys = ["isa", "threads", "bytes_per_token", "memory"]
    begun = start(program, peer, file, args) if peer and setting.get("real") and not setting["isa"] else None
    limits = [report["product_limit"] for *_, report in rounds]
    limit = statistics.median(limits) if None not in limits else None
    return {"start": begun, "read_bandwidth": bandwidth, "product_limit": limit,
            **{key: last[key] for key in keys}, "cases": rows, "torch": torch, "routing": routing}


def products(rounds, case):
    """The median share of the integer products' limit; None where there is none."""
    shares = [found["of_product_limit"] for *_, report in rounds for found in report["cases"]
              if found["case"] == case]
    return statistics.median(shares) if shares and None not in shares else None


def plain(setting):
    """Whether nothing is limited or loaded, and the weights are random. Routing and PyTorch are
    measured only there."""
    return not setting["isa"] and not setting["load"] and not setting.get("real")


def summary(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def ratio(mine, peers):
    """The ratio of the medians, with the range of the turns' ratios."""
    turns = [a / b for a, b in zip(mine, peers)]
    return {"median": statistics.median(mine) / statistics.median(peers),
            "least": min(turns), "most": max(turns)}


def machine():
    names = []
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"cpu": names[0] if names else platform.processor() or platform.machine(),
            "cores": os.cpu_count(), "system": platform.system()}


def command(args, name):
    """The command that measures this setting again, without paths."""
    options = [f"--threads {args.threads}", f"--alternations {args.alternations}",
               f"--repeat {args.repeat}", f"--settings {name}"]
    if SETTINGS[name].get("real"):
        options.append("--files FILE.gguf ...")
    if args.torch and plain(SETTINGS[name]):
        options.append("--torch python3")
    return " ".join(["python3 experiments/llama-cpp/bench.py", *options])


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", type=Path, default=ROOT / "target/llama-cpp",
                        help="the folder of peer.sh")
    parser.add_argument("--work", type=Path, default=ROOT / "target/bench-edge",
                        help="the folder for models")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/bench-edge")
    parser.add_argument("--torch", metavar="PYTHON",
                        help="a Python with torch and transformers, for PyTorch's prefill")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--alternations", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="repetitions within each turn")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--files", nargs="+", type=Path, default=[], metavar="FILE",
                        help="published GGUF files, for the settings real and real-avx2")
    args = parser.parse_args()
    for file in args.files:
        if not file.exists():
            parser.error(f"--files: {file} does not exist")

    peer = args.peer.resolve()
    version = None
    if not (peer / "native/bin/llama-bench").exists():
        print(f"llama.cpp is not in {peer}: measuring tokenroute alone. "
              "bash experiments/llama-cpp/peer.sh builds it.", file=sys.stderr)
        peer = None
    else:
        known = peer / "version"
        version = known.read_text().strip() if known.exists() else "a given checkout"
    args.work.mkdir(parents=True, exist_ok=True)
    prepared = prepare(args.work)
    known = args.out / "results.json"
    report = json.loads(known.read_text()) if known.exists() else {"shape": SHAPE, "settings": {}}
    for name in args.settings:
        setting = SETTINGS[name]
        if setting["isa"] == "avx2" and platform.machine() not in ("x86_64", "AMD64"):
            continue
        results = {}
        files = {file.name: file for file in args.files} if setting.get("real") else prepared[2]
        if not files:
            continue
        program, model, _, router = prepared
        for weights in files:
            print(f"{name}, {weights} ...", file=sys.stderr)
            results[weights] = measure((program, model, files, router), peer, weights, setting, args)
        report["settings"][name] = {
            "machine": machine(), "peer": version, "threads": args.threads,
            "alternations": args.alternations, "command": command(args, name),
            "results": results,
        }
        # Written after each setting, which takes minutes, in case the next one fails.
        write(report, args.out)
    print(markdown(report))


def write(report, out):
    out.mkdir(parents=True, exist_ok=True)
    (out / "README.md").write_text(markdown(report))
    (out / "results.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
