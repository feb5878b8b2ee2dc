//! Tensor names of llama.cpp and Hugging Face, and llama.cpp's order of rows in queries and
//! keys of Llama models.

use super::GgufError;
use super::config::{PHI3, SMOLLM3};
use crate::weights::{EMBEDDING, HEAD};

/// Outside the layers: GGUF name, Hugging Face name.
const GLOBAL: [(&str, &str); 3] = [
    ("token_embd.weight", EMBEDDING),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", HEAD),
];

/// Within `blk.N.` and `model.layers.N.`; each may have a weight and a bias.
const LAYER: [(&str, &str); 15] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    // Of Phi-3, which stacks them.
    ("attn_qkv", "self_attn.qkv_proj"),
    ("ffn_up", GATE_UP),
    // Of Gemma 3. Hugging Face has these names for other norms of other models, so these are
    // our own.
    ("post_attention_norm", "self_attn.post_norm"),
    ("post_ffw_norm", "mlp.post_norm"),
];

/// Gate and up in one tensor, for which llama.cpp has no name of its own.
const GATE_UP: &str = "mlp.gate_up_proj";

/// llama.cpp's name of a Hugging Face tensor.
pub(super) fn to_gguf(name: &str) -> Option<String> {
    if let Some((gguf, _)) = GLOBAL.iter().find(|(_, hf)| *hf == name) {
        return Some((*gguf).to_owned());
    }
    let (layer, rest) = name.strip_prefix("model.layers.")?.split_once('.')?;
    let (module, part) = rest.rsplit_once('.')?;
    let (gguf, _) = LAYER.iter().find(|(_, hf)| *hf == module)?;
    Some(format!("blk.{}.{gguf}.{}", number(layer)?, weight_or_bias(part)?))
}

/// Hugging Face's name of a llama.cpp tensor of an architecture.
pub(super) fn to_hugging_face(architecture: &str, name: &str) -> Option<String> {
    if let Some((_, hf)) = GLOBAL.iter().find(|(gguf, _)| *gguf == name) {
        return Some((*hf).to_owned());
    }
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    let (module, part) = rest.split_once('.')?;
    let stacked = architecture == PHI3 && module == "ffn_up";
    let (_, hf) =
        LAYER.iter().find(|(gguf, hf)| *gguf == module && (!stacked || *hf == GATE_UP))?;
    Some(format!("model.layers.{}.{hf}.{}", number(layer)?, weight_or_bias(part)?))
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok()
}

fn weight_or_bias(part: &str) -> Option<&str> {
    matches!(part, "weight" | "bias").then_some(part)
}

/// The number of heads in which a tensor's rows are permuted; `None` if they are not. Only
/// queries and keys of Llama models and SmolLM3 are.
pub(super) fn permuted(
    architecture: &str,
    hf: &str,
    heads: usize,
    kv_heads: usize,
) -> Option<usize> {
    if architecture != "llama" && architecture != SMOLLM3 {
        return None;
    }
    let is = |module: &str| hf.contains(&format!(".self_attn.{module}."));
    if is("q_proj") {
        Some(heads)
    } else if is("k_proj") {
        Some(kv_heads)
    } else {
        None
    }
}

/// llama.cpp's index of Hugging Face's row `row`, where the two halves of every head are
/// interleaved (`permute` of llama.cpp's `convert_hf_to_gguf.py`).
pub(super) fn interleaved(row: usize, rows: usize, heads: usize) -> usize {
    let width = rows / heads;
    let (head, within) = (row / width, row % width);
    let (half, index) = (within / (width / 2), within % (width / 2));
    head * width + 2 * index + half
}

/// Hugging Face's `len` rows in llama.cpp's order. For a vector these are its elements.
pub(super) fn stored_order(
    name: &str,
    len: usize,
    heads: Option<usize>,
) -> Result<Vec<usize>, GgufError> {
    let mut order: Vec<usize> = (0..len).collect();
    if let Some(heads) = heads {
        if !len.is_multiple_of(2 * heads) {
            let expected = format!("a multiple of 2 x {heads} heads");
            return Err(GgufError::value(name, len, expected));
        }
        (0..len).for_each(|row| order[interleaved(row, len, heads)] = row);
    }
    Ok(order)
}
