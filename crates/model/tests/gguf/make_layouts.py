"""Writes tiny-smollm3.gguf and tiny-phi3.gguf: random weights in llama.cpp's layouts of SmolLM3
(four layers, the last without a rotation) and of Phi-4-mini (stacked tensors, half a head rotated, a
factor for each frequency), and beside each a .json: what llama.cpp makes of it.

    python3 make_layouts.py LOGITS

Needs `pip install gguf numpy`. LOGITS is experiments/llama-cpp/logits.cpp.
"""

import array
import json
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np

HERE = Path(__file__).parent
HIDDEN, INNER, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 32, 32, 2, 1, 16, 40
LAYERS = {"smollm3": 4, "phi3": 2}


def make(architecture, logits):
    random = np.random.default_rng(5)
    file = HERE / f"tiny-{architecture}.gguf"
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_block_count(LAYERS[architecture])
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    if architecture == "phi3":
        writer.add_context_length(1024)
        writer.add_rope_dimension_count(HEAD_DIM // 2)
        writer.add_rope_scaling_orig_ctx_len(256)
        writer.add_rope_scaling_attn_factors(1.25)
    else:
        writer.add_context_length(256)
        writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre({"smollm3": "llama-bpe", "phi3": "gpt-4o"}[architecture])
    tokens = [chr(97 + i) for i in range(26)] + [chr(65 + i) for i in range(VOCABULARY - 28)] + ["ab", "<|end|>"]
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (VOCABULARY - 1) + [3])
    writer.add_token_merges(["a b"])
    # "<|end|>" ends an answer of Phi-3 though no key names it.
    writer.add_eos_token_id(VOCABULARY - 1 if architecture == "smollm3" else 0)
    writer.add_add_bos_token(False)

    def add(name, *shape, mean=0.0, spread=0.4):
        weights = mean + spread * random.standard_normal(shape)
        writer.add_tensor(name, weights.astype(np.float32))

    add("token_embd.weight", VOCABULARY, HIDDEN)
    add("output_norm.weight", HIDDEN, mean=1.0, spread=0.2)
    queries, key_value = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    if architecture == "phi3":
        writer.add_tensor("rope_factors_long.weight", np.array([2, 3, 4, 5], dtype=np.float32))
        writer.add_tensor("rope_factors_short.weight", np.array([1, 1.25, 1.5, 2], dtype=np.float32))
        matrices = {"attn_qkv": (queries + 2 * key_value, HIDDEN), "ffn_up": (2 * INNER, HIDDEN)}
    else:
        matrices = {
            "attn_q": (queries, HIDDEN), "attn_k": (key_value, HIDDEN), "attn_v": (key_value, HIDDEN),
            "ffn_gate": (INNER, HIDDEN), "ffn_up": (INNER, HIDDEN),
        }
    matrices |= {"attn_output": (HIDDEN, queries), "ffn_down": (HIDDEN, INNER)}
    for layer in range(LAYERS[architecture]):
        for name, shape in matrices.items():
            add(f"blk.{layer}.{name}.weight", *shape)
        for name in ["attn_norm", "ffn_norm"]:
            add(f"blk.{layer}.{name}.weight", HIDDEN, mean=1.0, spread=0.2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    ids = [int(id) for id in random.integers(0, VOCABULARY - 1, 40)]
    done = subprocess.run([logits, file, "1", "forced"], input=" ".join(map(str, ids)).encode(),
                          capture_output=True, check=True)
    raw = array.array("f")
    raw.frombytes(done.stdout)
    assert len(raw) == len(ids) * VOCABULARY, len(raw)
    kept = {at: [round(x, 5) for x in raw[at * VOCABULARY :][:VOCABULARY]] for at in (0, 1, 17, 39)}
    (HERE / f"tiny-{architecture}.json").write_text(json.dumps({"ids": ids, "logits": kept}) + "\n")


for architecture in LAYERS:
    make(architecture, sys.argv[1])
