"""Writes tiny.gguf with llama.cpp's writer, and tiny.safetensors with the same weights
dequantised by llama.cpp's code, with Hugging Face's names and order of rows.

Needs `pip install gguf safetensors torch`.
"""

from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import save_file

HERE = Path(__file__).parent
HIDDEN, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 256, 4, 2, 4, 6
random = np.random.default_rng(7)


def permute(weights, heads):
    """`LlamaModel.permute` of convert_hf_to_gguf.py."""
    shape = weights.shape
    return weights.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def scale(blocks, at):
    """Sets the f16 at byte `at` of every block to a small number."""
    values = random.uniform(0.001, 0.01, len(blocks)).astype(np.float16)
    blocks[:, at : at + 2] = values.view(np.uint8).reshape(-1, 2)


def blocks(kind, rows, columns):
    """Random blocks of a type that the gguf package cannot quantise to."""
    size, width = gguf.GGML_QUANT_SIZES[kind]
    data = random.integers(0, 256, (rows * columns // size, width), dtype=np.uint8)
    for at in {Kind.Q4_K: [0, 2], Kind.Q5_K: [0, 2], Kind.Q6_K: [208]}[kind]:
        scale(data, at)
    return data.reshape(rows, columns // size * width)


writer = gguf.GGUFWriter(HERE / "tiny.gguf", "llama")
writer.add_block_count(1)
writer.add_context_length(128)
writer.add_embedding_length(HIDDEN)
writer.add_feed_forward_length(HIDDEN)
writer.add_head_count(HEADS)
writer.add_head_count_kv(KV_HEADS)
writer.add_key_length(HEAD_DIM)
writer.add_value_length(HEAD_DIM)
writer.add_rope_dimension_count(HEAD_DIM)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_freq_base(500000.0)
writer.add_tokenizer_model("gpt2")
writer.add_tokenizer_pre("llama-bpe")
writer.add_token_list(["a", "b", "ab", "Ġ", "<|end|>", "[PAD5]"])
writer.add_token_types([1, 1, 1, 1, 3, 5])
writer.add_token_merges(["a b"])
writer.add_eos_token_id(4)

expected = {}


def add(name, hf, kind, rows, columns=HIDDEN, heads=None):
    shape = (rows, columns) if rows else (columns,)
    if kind in (Kind.Q4_K, Kind.Q5_K, Kind.Q6_K):
        stored = blocks(kind, rows, columns)
        weights = gguf.quants.dequantize(stored, kind)
    else:
        original = random.standard_normal(shape).astype(np.float32)
        stored = gguf.quants.quantize(permute(original, heads) if heads else original, kind)
        weights = gguf.quants.dequantize(stored, kind)
        if heads:
            back = np.argsort(permute(np.arange(rows), heads))
            weights = weights[back]
    writer.add_tensor(name, stored, raw_dtype=kind)
    expected[hf] = torch.from_numpy(np.ascontiguousarray(weights, dtype=np.float32))


layer = "model.layers.0."
add("token_embd.weight", "model.embed_tokens.weight", Kind.Q4_K, VOCABULARY)
add("output.weight", "lm_head.weight", Kind.Q6_K, VOCABULARY)
add("output_norm.weight", "model.norm.weight", Kind.F32, 0)
add("blk.0.attn_norm.weight", layer + "input_layernorm.weight", Kind.F32, 0)
add("blk.0.attn_q.weight", layer + "self_attn.q_proj.weight", Kind.Q8_0, HEADS * HEAD_DIM, heads=HEADS)
add("blk.0.attn_k.weight", layer + "self_attn.k_proj.weight", Kind.F16, KV_HEADS * HEAD_DIM, heads=KV_HEADS)
add("blk.0.attn_v.weight", layer + "self_attn.v_proj.weight", Kind.Q4_0, KV_HEADS * HEAD_DIM)
add("blk.0.attn_output.weight", layer + "self_attn.o_proj.weight", Kind.BF16, 8, HEADS * HEAD_DIM)
add("blk.0.ffn_norm.weight", layer + "post_attention_layernorm.weight", Kind.F32, 0)
add("blk.0.ffn_gate.weight", layer + "mlp.gate_proj.weight", Kind.Q5_K, 8)
add("blk.0.ffn_up.weight", layer + "mlp.up_proj.weight", Kind.Q4_K, 8)
add("blk.0.ffn_down.weight", layer + "mlp.down_proj.weight", Kind.Q6_K, 8)

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
save_file(expected, HERE / "tiny.safetensors")
