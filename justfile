# Everyday commands; `just` lists them. Each stage takes an experiment file.

quickstart := "experiments/quickstart/experiment.toml"
full := "experiments/word-problems/experiment.toml"

default:
    @just --list

# The whole chain on a part of the questions.
quickstart:
    cargo run --release -- run {{quickstart}}

# The full study: every question, every policy.
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

# Render its report.
report experiment=quickstart:
    cargo run --release -- report {{experiment}}

# What CI runs after format and lint checks, and what the README names.
test:
    cargo test --workspace

# Benchmarks, with ratios to a peer or a limit.
bench:
    cargo bench --workspace

# tokenroute and llama.cpp in turns on the same weights; `peer` builds llama.cpp.
bench-edge *options:
    python3 experiments/llama-cpp/bench.py {{options}}

# Tokens and logits against llama.cpp's, from files its own tools have written.
parity-llama-cpp *options:
    cargo build --release -p tokenroute --no-default-features
    python3 experiments/llama-cpp/parity.py {{options}}

# llama.cpp for the two above, under target/llama-cpp.
peer:
    bash experiments/llama-cpp/peer.sh

# The exact sweep against brute-force decoding on 50 questions.
check-sweep:
    cargo run --release -- check-sweep {{quickstart}} --questions 50

# Format, lints, an edge-only build, tests.
check:
    bash .ci/run
