# Everyday commands. `just` lists them. Each stage takes an experiment file.

quickstart := "experiments/quickstart/experiment.toml"
full := "experiments/word-problems/experiment.toml"

default:
    @just --list

# Run the whole chain on a part of the questions.
quickstart:
    cargo run --release -- run {{quickstart}}

# Run the full study: every question, every policy.
study:
    cargo run --release -- run {{full}}

# Label the questions of an experiment.
label experiment=quickstart:
    cargo run --release -- label {{experiment}}

# Train its router.
train experiment=quickstart:
    cargo run --release -- train {{experiment}}

# Sweep τ exactly on its test questions.
sweep experiment=quickstart:
    cargo run --release -- sweep {{experiment}}

# Render its report under run/.
report experiment=quickstart:
    cargo run --release -- report {{experiment}}

# Refresh the committed reports. After `just quickstart` and `just study`.
reports:
    cargo run --release -- report {{quickstart}} --out reports/quickstart
    cargo run --release -- report {{full}} --out reports/word-problems

# Several routers on the labels of the quickstart: reports/router-comparison. Published heads, losses and label
# rules: just compare experiments/router-comparison/losses.toml reports/router-losses
compare file="experiments/router-comparison/compare.toml" out="reports/router-comparison":
    cargo run --release -- compare {{file}} --out {{out}}

# The real pair: reports/csqa-qwen2.5-coder and reports/gsm8k-qwen2.5-coder. Loads weights and
# questions from the Hub, or from its cache with HF_HUB_OFFLINE=1. Takes an hour on two cores.
real-pair:
    cargo build --release
    target/release/tokenroute run experiments/csqa-qwen2.5-coder/experiment.toml
    target/release/tokenroute report experiments/csqa-qwen2.5-coder/experiment.toml --out reports/csqa-qwen2.5-coder
    target/release/tokenroute run experiments/gsm8k-qwen2.5-coder/experiment.toml
    target/release/tokenroute report experiments/gsm8k-qwen2.5-coder/experiment.toml --out reports/gsm8k-qwen2.5-coder
    python3 tools/readme-numbers.py

# Labelling and sweeping of 24 real questions, beside an earlier version, which it builds.
bench-real *options:
    cargo build --release
    python3 experiments/csqa-qwen2.5-coder/bench.py {{options}}

# Labelling beside a loop of one-token calls, as CITER's pipeline labels; needs torch and transformers.
bench-citer *options:
    cargo build --release
    python3 experiments/citer/label.py {{options}}

# What CI runs after format and lint checks, and what the README names.
test:
    cargo test --workspace

# Benchmarks, with ratios to a peer or a limit.
bench:
    cargo bench --workspace

# The quickstart's pair behind a link of 100 ms: reports/latency. After `just quickstart`.
latency:
    cargo build --release
    experiments/quickstart/latency.sh

# `serve` under load: reports/serve. After `just quickstart`.
load:
    cargo build --release
    experiments/quickstart/load.sh

# transformers' numbers, from folders it has written in shapes drawn anew; needs torch.
parity-transformers seed="7" folder=(justfile_directory() / "target/fresh-models"):
    python3 crates/model/tests/fixtures/make.py --fresh {{folder}} --seed {{seed}}
    TOKENROUTE_FRESH_MODELS={{folder}} cargo test --workspace --test model -- --ignored fresh --nocapture

# Labels and scores of the quickstart on candle's device (TOKENROUTE_TEST_DEVICE, else cpu) beside those of the kernels.
parity-device *options:
    cargo test --workspace {{options}} --test device -- --ignored --nocapture

# tokenroute and llama.cpp in turns on the same weights; `peer` builds llama.cpp.
bench-edge *options:
    python3 experiments/llama-cpp/bench.py {{options}}

# Tokens and logits against llama.cpp's, from files its own tools have written.
parity-llama-cpp *options:
    cargo build --release -p tokenroute --no-default-features --features cli
    python3 experiments/llama-cpp/parity.py {{options}}

# A published file against llama.cpp, teacher-forced on real answers. After `just real-pair`.
parity-real *options:
    python3 experiments/llama-cpp/real.py {{options}}

# Routed decoding with the LLM on llama.cpp's server, against the pair in process.
parity-llama-server *options:
    cargo build --release -p tokenroute --no-default-features --features cli
    python3 experiments/llama-cpp/server.py {{options}}

# The quickstart's router, committed for the library's examples. After `just quickstart`.
router:
    cp experiments/quickstart/run/router/router.safetensors models/word-problems-router/

# A wheel that carries the fully optimised program, under target/wheels; needs maturin.
wheel:
    maturin build --release --out target/wheels

# llama.cpp for the four above, under target/llama-cpp.
peer:
    bash experiments/llama-cpp/peer.sh

# The exact sweep against brute-force decoding on 50 questions.
check-sweep:
    cargo run --release -- check-sweep {{quickstart}} --questions 50

# The kernels' tests for aarch64 under qemu; needs root, and installs a Debian under target/.
test-aarch64:
    bash crates/kernels/tests/aarch64.sh

# Format, lints, an edge-only build, tests.
check:
    bash .ci/run

# lm-evaluation-harness on `serve` and `cloud`: reports/lm-eval; needs lm-eval, torch and transformers.
lm-eval *options:
    cargo build --release
    python3 experiments/lm-eval/run.py {{options}}

# Size and number of crates of the C library: reports/ffi.
ffi *options:
    python3 experiments/ffi/measure.py {{options}}

# The documents: links, the README's numbers and picture, the book; needs mdbook.
docs:
    python3 tools/check-links.py
    python3 tools/readme-numbers.py --check
    python3 tools/token-picture.py --check
    mdbook build docs

# A nightly compiler is used where rustup has one; else the stable one is made to take nightly's flags.
# Fuzz a reader of what others send: gguf, config, safetensors, tokenizer, chat, questions, router, heads, labels, curves, states, outcomes, answers, serve, cloud, replies, texts or grades; needs cargo-fuzz.
fuzz target seconds="600":
    mkdir -p fuzz/corpus/{{target}}
    cp Cargo.lock fuzz/Cargo.lock
    if cargo +nightly --version > /dev/null 2>&1; then toolchain=+nightly; else toolchain=; export RUSTC_BOOTSTRAP=1; fi; \
    cargo $toolchain fuzz run {{target}} fuzz/corpus/{{target}} fuzz/seeds/{{target}} -- -max_total_time={{seconds}} -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024

# Time of every reader of what others send, at n and 2n: twice the input may take 2.5 times as long, and /health 100 ms beside it. CI counts allocations instead.
cost:
    cargo test --workspace --test cost -- --ignored --nocapture --test-threads=1

# The kernels' tests, with the thread pool, under AddressSanitizer and ThreadSanitizer; needs a nightly compiler with rust-src.
sanitize target="x86_64-unknown-linux-gnu":
    RUSTFLAGS=-Zsanitizer=address cargo +nightly test -p tokenroute-kernels --lib --tests --target {{target}} --target-dir target/address
    RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std -p tokenroute-kernels --lib --tests --target {{target}} --target-dir target/thread

# Fuzz every reader, one after the other.
fuzz-all seconds="600":
    for target in gguf config safetensors tokenizer chat questions router heads labels curves states outcomes answers serve cloud replies texts grades; do just fuzz $target {{seconds}} || exit 1; done
