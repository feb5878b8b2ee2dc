#!/usr/bin/env python3
"""Builds the C library for devices and writes its size and number of crates to reports/ffi.

    python3 experiments/ffi/measure.py [--http] [--aarch64]

The profile is `device`: link-time optimisation, one unit, stripped. The example in C is compiled
against each library and answers one question.

With --http the library with the feature `http` is measured too. With --aarch64 the library is also
built for aarch64 Linux, and the example runs under qemu. This needs a nightly toolchain with rust-src,
and Debian's gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / "crates/ffi"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
AARCH64 = "aarch64-unknown-linux-gnu"
MOST_BYTES, MOST_CRATES = 12_000_000, 150
QUESTION = ("The picnic is on Saturday. The picnic is 5 days before the party. On which day is the party?\n"
            "Tuesday A Sunday B Saturday C Monday D Thursday E\n")


def run(command, **more):
    done = subprocess.run([str(part) for part in command], cwd=ROOT, text=True, stdout=subprocess.PIPE, **more)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} fails")
    return done.stdout


def crates(features):
    """Crates in the library, this workspace's included; each version counts."""
    tree = run(["cargo", "tree", "--locked", "-p", "tokenroute-ffi", "-e", "normal", "--prefix", "none", *features])
    return len({line.removesuffix(" (*)") for line in tree.splitlines() if line})


def build(features, target=None):
    """The library, and the seconds that it took."""
    cargo = ["cargo", *(["+nightly"] if target else []), "rustc", "--locked", "-p", "tokenroute-ffi", "--lib",
             "--crate-type", "cdylib", "--profile", "device", *features]
    environment = dict(os.environ)
    if target:
        cargo += ["-Zbuild-std=std,panic_unwind", "--target", target]
        environment["CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER"] = "aarch64-linux-gnu-gcc"
    started = time.time()
    run(cargo, env=environment)
    folder = TARGET / (target or "") / "device"
    return folder / "libtokenroute_ffi.so", time.time() - started


def example(library, compiler, runner):
    """What the example in C prints, linked with this library."""
    program = library.parent / "answer"
    run([compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "-I", HOME / "include", HOME / "examples/answer.c",
         "-L", library.parent, f"-Wl,-rpath,{library.parent}", "-ltokenroute_ffi", "-o", program])
    models = ROOT / "models"
    return run([*runner, program, models / "word-problems-slm", models / "word-problems-llm",
                models / "word-problems-router/router.safetensors", "0.98", QUESTION])


def measured(name, features, target=None):
    library, seconds = build(features, target)
    compiler = "aarch64-linux-gnu-gcc" if target else os.environ.get("CC", "cc")
    runner = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu"] if target else []
    said = example(library, compiler, runner)
    return {"name": name, "machine": target or f"{platform.machine()}-linux", "bytes": library.stat().st_size,
            "crates": crates(features), "build_seconds": round(seconds), "example": said}


def markdown(report):
    lines = [
        "# The C library", "",
        "`libtokenroute_ffi.so` with link-time optimisation, stripped. Crates are those that `cargo tree` "
        "lists on the machine that builds, macros and this workspace's included. The aims are 12 MB and 150 crates. Made by", "",
        "```sh", report["command"], "```", "",
        "| library | machine | MB | crates | the example in C |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for row in report["rows"]:
        last = row["example"].strip().splitlines()[-1]
        lines.append(f"| {row['name']} | {row['machine']} | {row['bytes'] / 1e6:.1f} | {row['crates']} | {last} |")
    lines += ["", "Without `http` a program asks its large model by a function of its own (`ask`). The example answers "
              "one question with the bundled pair at τ = 0.98:", "", "```text", report["rows"][0]["example"].strip(), "```"]
    if any(row["machine"] == AARCH64 for row in report["rows"]):
        lines += ["", "The library for aarch64 ran under qemu, on no real device."]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--aarch64", action="store_true")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/ffi")
    args = parser.parse_args()
    if args.aarch64:
        for program in ["aarch64-linux-gnu-gcc", "qemu-aarch64"]:
            if shutil.which(program) is None:
                sys.exit(f"{program} is not installed; see --help")
    command = "python3 experiments/ffi/measure.py"
    command += (" --http" if args.http else "") + (" --aarch64" if args.aarch64 else "")
    rows = [measured("without network code", [])]
    if args.http:
        rows.append(measured("with `http`", ["--features", "http"]))
    if args.aarch64:
        rows.append(measured("without network code", [], AARCH64))
    report = {"command": command, "rows": rows}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "results.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    (args.out / "README.md").write_text(markdown(report))
    print(markdown(report))
    differ = {row["example"] for row in rows}
    if len(differ) > 1:
        sys.exit("the examples' answers differ")
    if rows[0]["bytes"] > MOST_BYTES or rows[0]["crates"] > MOST_CRATES:
        sys.exit("the library exceeds its aims")


if __name__ == "__main__":
    main()
