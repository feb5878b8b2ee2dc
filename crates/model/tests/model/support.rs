//! Tiny random models in Hugging Face layout, written into a temporary directory.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tokenroute_core::{Detail, Feed, LanguageModel, Step};
use tokenroute_model::{Decoder, KvState, LoadError, LoadOptions, LoadedModel, load_model};

/// Numbers in [-1, 1), the same on every machine.
pub struct Noise(pub u32);

impl Noise {
    pub fn next(&mut self) -> f32 {
        (self.below(1 << 24) as f32) / (1 << 23) as f32 - 1.0
    }

    pub fn below(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        ((u64::from(self.0) * u64::from(n)) >> 32) as u32
    }
}

pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The parts of a model directory, which tests may change before it is written.
pub struct ModelFiles {
    pub config: Value,
    pub generation: Option<Value>,
    pub tokenizer: Value,
    pub tensors: Tensors,
    pub dtype: Dtype,
}

impl ModelFiles {
    pub fn new(seed: u32) -> Self {
        let config = json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 50,
            "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_act": "silu",
            "max_position_embeddings": 96, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
            "tie_word_embeddings": true, "use_sliding_window": false, "eos_token_id": 0,
            "torch_dtype": "float32", "attention_dropout": 0.0
        });
        let mut noise = Noise(seed);
        let mut tensors = Tensors::new();
        let mut add = |name: &str, shape: &[usize], offset: f32, spread: f32| {
            let n = shape.iter().product();
            let values = (0..n).map(|_| offset + spread * noise.next()).collect();
            tensors.insert(name.to_owned(), (shape.to_vec(), values));
        };
        add("model.embed_tokens.weight", &[50, 48], 0.0, 0.6);
        for i in 0..2 {
            let p = format!("model.layers.{i}");
            for (name, out) in [("q", 48), ("k", 24), ("v", 24)] {
                add(&format!("{p}.self_attn.{name}_proj.weight"), &[out, 48], 0.0, 0.4);
                add(&format!("{p}.self_attn.{name}_proj.bias"), &[out], 0.0, 0.2);
            }
            add(&format!("{p}.self_attn.o_proj.weight"), &[48, 48], 0.0, 0.3);
            add(&format!("{p}.mlp.gate_proj.weight"), &[80, 48], 0.0, 0.3);
            add(&format!("{p}.mlp.up_proj.weight"), &[80, 48], 0.0, 0.3);
            add(&format!("{p}.mlp.down_proj.weight"), &[48, 80], 0.0, 0.3);
            add(&format!("{p}.input_layernorm.weight"), &[48], 1.0, 0.2);
            add(&format!("{p}.post_attention_layernorm.weight"), &[48], 1.0, 0.2);
        }
        add("model.norm.weight", &[48], 1.0, 0.2);
        ModelFiles { config, generation: None, tokenizer: tokenizer(), tensors, dtype: Dtype::F32 }
    }

    pub fn untied(mut self) -> Self {
        self.config["tie_word_embeddings"] = json!(false);
        let mut noise = Noise(77);
        let head = (0..50 * 48).map(|_| 0.4 * noise.next()).collect();
        self.tensors.insert("lm_head.weight".to_owned(), (vec![50, 48], head));
        self
    }

    pub fn write(&self, dir: &Path) {
        let put = |name: &str, value: &Value| {
            std::fs::write(dir.join(name), value.to_string()).expect("a writable directory");
        };
        put("config.json", &self.config);
        put("tokenizer.json", &self.tokenizer);
        if let Some(generation) = &self.generation {
            put("generation_config.json", generation);
        }
        write_tensors(&dir.join("model.safetensors"), &self.tensors, self.dtype, None);
    }

    pub fn load(&self) -> Result<LoadedModel, LoadError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        self.write(dir.path());
        load_model(dir.path(), &LoadOptions::default())
    }
}

/// Writes f32 values as F32, F16 or BF16.
pub fn write_tensors(
    path: &Path,
    tensors: &Tensors,
    dtype: Dtype,
    metadata: Option<std::collections::HashMap<String, String>>,
) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = match dtype {
                Dtype::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                Dtype::BF16 => {
                    values.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes()).collect()
                }
                other => panic!("{other:?} is not written here"),
            };
            (name.clone(), shape.clone(), bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name, TensorView::new(dtype, shape.clone(), bytes).expect("a shape that fits"))
    });
    safetensors::serialize_to_file(views, metadata, path).expect("a writable file");
}

/// 46 ids: two end tokens, characters, and two merges ("an", "and").
pub fn tokenizer() -> Value {
    let mut vocab = serde_json::Map::new();
    let characters = "abcdefghijklmnopqrstuvwxyz0123456789.!?,ĠĊ";
    for (i, c) in characters.chars().enumerate() {
        vocab.insert(c.to_string(), json!(i + 1));
    }
    for (token, id) in [("<end>", 0), ("an", 43), ("and", 44), ("<stop>", 45)] {
        vocab.insert(token.to_owned(), json!(id));
    }
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false,
               "rstrip": false, "normalized": false, "special": true})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(0, "<end>"), added(45, "<stop>")],
        "normalizer": null, "pre_tokenizer": byte_level, "post_processor": null,
        "decoder": byte_level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
                  "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": [["a", "n"], ["an", "d"]]}
    })
}

/// Token sequences of these lengths.
pub fn sequences(seed: u32, lengths: &[usize]) -> Vec<Vec<u32>> {
    let mut noise = Noise(seed);
    lengths.iter().map(|&n| (0..n).map(|_| noise.below(46)).collect()).collect()
}

/// All steps of a sequence that is fed in pieces of `piece` tokens.
pub fn alone(model: &Decoder, tokens: &[u32], piece: usize) -> Vec<Step> {
    let mut state = model.start();
    tokens.chunks(piece).flat_map(|piece| feed(model, &mut state, piece)).collect()
}

pub fn feed(model: &Decoder, state: &mut KvState, tokens: &[u32]) -> Vec<Step> {
    let mut feeds = [Feed { state, tokens, from: 0 }];
    model.advance(&mut feeds, Detail::Logits).expect("a valid feed").remove(0)
}

/// The bits of all fields of a step.
pub fn bits(step: &Step) -> Vec<u32> {
    let logits = step.logits.as_deref().unwrap_or(&[]);
    let top = step.top.iter().flat_map(|(id, p)| [*id, p.to_bits()]);
    [step.token, step.entropy.to_bits()]
        .into_iter()
        .chain(top)
        .chain(step.hidden.iter().chain(logits).map(|x| x.to_bits()))
        .collect()
}
