//! Tiny random models, as directories and as GGUF files of the same weights.

use std::path::Path;

use safetensors::Dtype;
use serde_json::json;
use tokenroute_core::Step;
use tokenroute_model::gguf::{GgufError, Kind, NewTensor, export};
use tokenroute_model::{LoadError, LoadOptions, LoadedModel, load_model};

use crate::support::{ModelFiles, Noise, Tensors, alone, bits, tokenizer};

/// The weights are multiples of 1 / STEPS, which all float types hold exactly.
const STEPS: f32 = 256.0;

/// A model of width 64 with 4 heads and two layers: `qwen2` with biases and a tied LM head,
/// `qwen3` with head norms, `llama` with all biases and an untied LM head, `smollm3` without either.
pub fn model(kind: &str) -> ModelFiles {
    let class = match kind {
        "qwen2" => "Qwen2ForCausalLM",
        "qwen3" => "Qwen3ForCausalLM",
        "smollm3" => "SmolLM3ForCausalLM",
        _ => "LlamaForCausalLM",
    };
    // Rows of 256 are whole blocks of Q4_K.
    let inner = if kind == "llama" { 256 } else { 96 };
    let config = json!({
        "architectures": [class], "model_type": kind, "vocab_size": 50, "hidden_size": 64,
        "intermediate_size": inner, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "hidden_act": "silu",
        "max_position_embeddings": 96, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "tie_word_embeddings": kind == "qwen2", "attention_bias": matches!(kind, "llama" | "qwen2"),
        "eos_token_id": 0,
    });
    let mut noise = Noise(kind.len() as u32);
    let mut tensors = Tensors::new();
    let mut add = |name: String, shape: &[usize], offset: f32, spread: f32| {
        let n = shape.iter().product();
        let value = |noise: &mut Noise| ((offset + spread * noise.next()) * STEPS).round() / STEPS;
        tensors.insert(name, (shape.to_vec(), (0..n).map(|_| value(&mut noise)).collect()));
    };
    add("model.embed_tokens.weight".to_owned(), &[50, 64], 0.0, 0.6);
    for i in 0..2 {
        let name = |part: &str| format!("model.layers.{i}.{part}");
        for (part, out) in [("q", 64), ("k", 32), ("v", 32), ("o", 64)] {
            add(name(&format!("self_attn.{part}_proj.weight")), &[out, 64], 0.0, 0.4);
            if kind == "llama" || kind == "qwen2" && part != "o" {
                add(name(&format!("self_attn.{part}_proj.bias")), &[out], 0.0, 0.2);
            }
        }
        if kind == "qwen3" {
            add(name("self_attn.q_norm.weight"), &[16], 1.0, 0.2);
            add(name("self_attn.k_norm.weight"), &[16], 1.0, 0.2);
        }
        add(name("mlp.gate_proj.weight"), &[inner, 64], 0.0, 0.3);
        add(name("mlp.up_proj.weight"), &[inner, 64], 0.0, 0.3);
        add(name("mlp.down_proj.weight"), &[64, inner], 0.0, 0.3);
        add(name("input_layernorm.weight"), &[64], 1.0, 0.2);
        add(name("post_attention_layernorm.weight"), &[64], 1.0, 0.2);
    }
    add("model.norm.weight".to_owned(), &[64], 1.0, 0.2);
    if kind != "qwen2" {
        add("lm_head.weight".to_owned(), &[50, 64], 0.0, 0.4);
    }
    ModelFiles { config, generation: None, tokenizer: tokenizer(), tensors, dtype: Dtype::F32 }
}

/// The model as a GGUF file.
pub fn exported(
    files: &ModelFiles,
    kind: Kind,
    texts: &[(&str, &str)],
) -> Result<Vec<u8>, GgufError> {
    type Fill<'a> = Box<dyn Fn(usize, &mut [f32]) + 'a>;
    let fills: Vec<Fill<'_>> = files
        .tensors
        .values()
        .map(|(_, values)| {
            Box::new(|row: usize, out: &mut [f32]| {
                out.copy_from_slice(&values[row * out.len()..][..out.len()]);
            }) as Fill<'_>
        })
        .collect();
    let sources: Vec<NewTensor<'_>> = files
        .tensors
        .iter()
        .zip(&fills)
        .map(|((name, (shape, _)), fill)| NewTensor { name, shape, row: fill })
        .collect();
    let mut bytes = Vec::new();
    export(&mut bytes, &files.config, &files.tokenizer, kind, texts, &sources)?;
    Ok(bytes)
}

/// Loads a GGUF file of these bytes.
pub fn load_bytes(bytes: &[u8]) -> Result<LoadedModel, LoadError> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("model.gguf");
    std::fs::write(&path, bytes).expect("a writable directory");
    load_model(&path, &LoadOptions::default())
}

/// Loads the model's directory.
pub fn load_directory(files: &ModelFiles, dir: &Path, options: &LoadOptions) -> LoadedModel {
    files.write(dir);
    load_model(dir, options).expect("a sound model")
}

/// All steps of a sequence.
pub fn steps(model: &LoadedModel) -> Vec<Step> {
    alone(&model.decoder, &[1, 17, 3, 40, 5, 44, 9, 22], 3)
}

/// The bits of the steps.
pub fn step_bits(model: &LoadedModel) -> Vec<Vec<u32>> {
    steps(model).iter().map(bits).collect()
}

/// Replaces the first occurrence of some bytes by others of the same length.
pub fn replace(bytes: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let found = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let at = found.unwrap_or_else(|| panic!("{from} is in the file"));
    bytes[at..][..to.len()].copy_from_slice(to.as_bytes());
}
