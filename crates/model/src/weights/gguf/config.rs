//! Translates metadata to Hugging Face's `config.json` and back. So one reader of
//! configurations decides on support.

use serde_json::{Map, Value as Json, json};

use super::{Gguf, GgufError, Value};

/// The tensor that holds Llama 3's rotary factors.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";
/// The tensors that hold Phi-3's, for sequences up to the context of the first training and for
/// longer ones.
const SHORT_FACTORS: &str = "rope_factors_short.weight";
const LONG_FACTORS: &str = "rope_factors_long.weight";
/// All tensors that belong to the configuration.
pub(super) const FACTORS: [&str; 3] = [ROPE_FACTORS, SHORT_FACTORS, LONG_FACTORS];

/// Architectures: GGUF's name, `model_type`, `architectures`. Mistral is written as
/// `llama`, which computes the same.
const ARCHITECTURES: [(&str, &str, &str); 7] = [
    ("llama", "llama", "LlamaForCausalLM"),
    ("qwen2", "qwen2", "Qwen2ForCausalLM"),
    ("qwen3", "qwen3", "Qwen3ForCausalLM"),
    ("llama", "mistral", "MistralForCausalLM"),
    (SMOLLM3, "smollm3", "SmolLM3ForCausalLM"),
    (PHI3, "phi3", "Phi3ForCausalLM"),
    (GEMMA3, "gemma3_text", "Gemma3ForCausalLM"),
];

pub(super) const SMOLLM3: &str = "smollm3";
pub(super) const PHI3: &str = "phi3";
pub(super) const GEMMA3: &str = "gemma3";
/// Gemma 3's constants that its files leave out (`llm_build_gemma3` of llama.cpp): every sixth
/// layer sees all positions; base of the others' rotation.
const GEMMA3_PATTERN: usize = 6;
const GEMMA3_LOCAL_BASE: f64 = 10_000.0;
/// Layers of the one Gemma 3 (27B) whose queries are scaled by another width than a head's.
const GEMMA3_27B: usize = 62;

/// Counts: Hugging Face's field, the key after the architecture.
pub(super) const COUNTS: [(&str, &str); 6] = [
    ("hidden_size", "embedding_length"),
    ("intermediate_size", "feed_forward_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("max_position_embeddings", "context_length"),
    ("num_key_value_heads", "attention.head_count_kv"),
];

impl Gguf {
    /// `general.architecture`, if it is supported.
    pub(super) fn architecture(&self) -> Result<&str, GgufError> {
        let key = "general.architecture";
        let known = "llama, qwen2, qwen3, smollm3, phi3 or gemma3";
        let value = self.get(key).ok_or_else(|| GgufError::missing(key, known))?;
        let name = value.as_str().filter(|name| ARCHITECTURES.iter().any(|a| a.0 == *name));
        name.ok_or_else(|| GgufError::value(key, value, known))
    }

    /// The architecture's value with a name.
    fn of(&self, key: &str) -> Result<Option<Value<'_>>, GgufError> {
        Ok(self.get(&format!("{}.{key}", self.architecture()?)))
    }

    /// The architecture's value as a count that must be present.
    pub(super) fn number(&self, key: &str) -> Result<usize, GgufError> {
        let name = format!("{}.{key}", self.architecture()?);
        let value = self.get(&name).ok_or_else(|| GgufError::missing(&name, "a count"))?;
        let count = value.as_u64().filter(|&n| n > 0 && n <= 1 << 31);
        count.map(|n| n as usize).ok_or_else(|| GgufError::value(name, value, "1 to 2^31"))
    }

    pub(super) fn kv_heads(&self) -> Result<usize, GgufError> {
        match self.of("attention.head_count_kv")? {
            None => self.number("attention.head_count"),
            Some(_) => self.number("attention.head_count_kv"),
        }
    }

    fn positive(&self, key: &str, value: Value<'_>) -> Result<f64, GgufError> {
        let number = value.as_f64().filter(|n| n.is_finite() && *n > 0.0);
        let number = number.ok_or_else(|| GgufError::value(key, value, "a positive number"))?;
        // An f32 is read as the shortest decimal that rounds to it: 1e-6, not 9.99999997e-7.
        let short = number as f32;
        if f64::from(short) != number {
            return Ok(number);
        }
        Ok(short.to_string().parse().unwrap_or(number))
    }

    /// The file's `config.json`.
    ///
    /// # Errors
    /// An architecture, a key or a rotary scaling that is missing or not supported.
    pub fn config(&self) -> Result<Json, GgufError> {
        let architecture = self.architecture()?;
        let mut config = Map::new();
        if let Some((_, model, class)) = ARCHITECTURES.iter().find(|a| a.0 == architecture) {
            config.insert("model_type".to_owned(), json!(model));
            config.insert("architectures".to_owned(), json!([class]));
        }
        let mut put = |field: &str, value: Json| config.insert(field.to_owned(), value);
        for (field, key) in COUNTS {
            let count =
                if field == "num_key_value_heads" { self.kv_heads()? } else { self.number(key)? };
            put(field, json!(count));
        }
        let (hidden, heads) =
            (self.number("embedding_length")?, self.number("attention.head_count")?);
        let head_dim = match self.of("attention.key_length")? {
            Some(_) => self.number("attention.key_length")?,
            None => hidden / heads,
        };
        let mut rotary_dim = head_dim;
        for key in ["attention.value_length", "rope.dimension_count"] {
            if self.of(key)?.is_some() && self.number(key)? != head_dim {
                if architecture == PHI3 && key == "rope.dimension_count" {
                    rotary_dim = self.number(key)?;
                    continue;
                }
                let expected = format!("the width of a head, {head_dim}");
                return Err(GgufError::value(key, self.number(key)?, expected));
            }
        }
        if architecture == PHI3 {
            put("partial_rotary_factor", json!(rotary_dim as f64 / head_dim as f64));
        }
        put("head_dim", json!(head_dim));
        if let Some(experts) = self.of("expert_count")?.filter(|n| n.as_u64() != Some(0)) {
            return Err(GgufError::value("expert_count", experts, "0: no mixture of experts"));
        }
        let embedding = "token_embd.weight";
        let embedding =
            self.tensor(embedding).ok_or_else(|| GgufError::missing(embedding, "the embedding"))?;
        put("vocab_size", json!(embedding.shape[0]));
        put("tie_word_embeddings", json!(self.tensor("output.weight").is_none()));
        if architecture != GEMMA3 {
            put("hidden_act", json!("silu"));
        }
        let eps = "attention.layer_norm_rms_epsilon";
        let value = self.of(eps)?.ok_or_else(|| GgufError::missing(eps, "a positive number"))?;
        put("rms_norm_eps", json!(self.positive(eps, value)?));
        if let Some(theta) = self.of("rope.freq_base")? {
            put("rope_theta", json!(self.positive("rope.freq_base", theta)?));
        }
        if architecture == "llama" {
            put("attention_bias", json!(self.tensor("blk.0.attn_q.bias").is_some()));
            put("mlp_bias", json!(self.tensor("blk.0.ffn_down.bias").is_some()));
        }
        let window = self.of("attention.sliding_window")?.and_then(|w| w.as_u64());
        if architecture == GEMMA3 {
            let (layers, window) = (self.number("block_count")?, window.filter(|w| *w > 0));
            let window = window.ok_or_else(|| {
                GgufError::missing("gemma3.attention.sliding_window", "a number of positions")
            })?;
            let kind = |layer: usize| match (layer + 1) % GEMMA3_PATTERN {
                0 => "full_attention",
                _ => "sliding_attention",
            };
            put("sliding_window", json!(window));
            put("layer_types", (0..layers.min(1 << 12)).map(kind).collect());
            put("hidden_activation", json!("gelu_pytorch_tanh"));
            let local = match self.of("rope.freq_base_swa")? {
                Some(base) => self.positive("rope.freq_base_swa", base)?,
                None => GEMMA3_LOCAL_BASE,
            };
            put("rope_local_base_freq", json!(local));
            let width = if layers == GEMMA3_27B { hidden / heads } else { head_dim };
            put("query_pre_attn_scalar", json!(width));
        } else if architecture == PHI3 {
            put("sliding_window", json!(window.filter(|w| *w > 0)));
        } else if let Some(window) = window
            && window > 0
        {
            // Of the models stored as `llama`, only Mistral has a window.
            put("model_type", json!("mistral"));
            put("architectures", json!(["MistralForCausalLM"]));
            put("sliding_window", json!(window));
            config.remove("attention_bias");
            config.remove("mlp_bias");
        }
        if let Some(scaling) = self.rope_scaling(rotary_dim)? {
            config.insert("rope_scaling".to_owned(), scaling);
        }
        config.insert("eos_token_id".to_owned(), json!(self.end_tokens()));
        Ok(Json::Object(config))
    }

    fn rope_scaling(&self, head_dim: usize) -> Result<Option<Json>, GgufError> {
        if self.tensor(SHORT_FACTORS).is_some() {
            return self.long_rope(head_dim).map(Some);
        }
        if self.tensor(ROPE_FACTORS).is_some() {
            return self.llama3_scaling(head_dim).map(Some);
        }
        let kind = self.of("rope.scaling.type")?;
        let factor = match self.of("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.of("rope.scale_linear")?,
        };
        match (kind.as_ref().and_then(Value::as_str), factor) {
            (None | Some("none"), None) | (Some("none"), _) => Ok(None),
            (None | Some("linear"), Some(factor)) => {
                let factor = self.positive("rope.scaling.factor", factor)?;
                Ok((factor != 1.0).then(|| json!({"rope_type": "linear", "factor": factor})))
            }
            _ => {
                let value = kind.map_or_else(String::new, |kind| kind.to_string());
                Err(GgufError::value("rope.scaling.type", value, "none or linear"))
            }
        }
    }

    /// The divisors of Phi-3's frequencies.
    fn long_rope(&self, rotary_dim: usize) -> Result<Json, GgufError> {
        let short_factor = self.factors(SHORT_FACTORS, rotary_dim)?;
        let first = self.number("rope.scaling.original_context_length")?;
        let attention = match self.of("rope.scaling.attn_factor")? {
            Some(factor) => Some(self.positive("rope.scaling.attn_factor", factor)?),
            None => None,
        };
        Ok(json!({
            "rope_type": "longrope", "short_factor": short_factor,
            "original_max_position_embeddings": first, "attention_factor": attention,
        }))
    }

    /// A tensor of one rotary factor for each frequency.
    fn factors(&self, name: &str, rotary_dim: usize) -> Result<Vec<f32>, GgufError> {
        let tensor = self.tensor(name).filter(|t| t.shape == [rotary_dim / 2]);
        let tensor = tensor.ok_or_else(|| {
            GgufError::missing(name, format!("{} rotary factors", rotary_dim / 2))
        })?;
        let mut factors = vec![0.0; rotary_dim / 2];
        tensor.kind.dequantise(self.bytes(tensor), &mut factors);
        Ok(factors)
    }

    /// llama.cpp stores Llama 3's rotary scaling as one divisor per frequency. This finds the
    /// four constants behind the divisors by trying those of the released models.
    fn llama3_scaling(&self, head_dim: usize) -> Result<Json, GgufError> {
        let factors = self.factors(ROPE_FACTORS, head_dim)?;
        let theta = self.of("rope.freq_base")?.and_then(|t| t.as_f64()).unwrap_or(10_000.0);
        let factor = factors.iter().copied().fold(1.0f32, f32::max);
        let (low, high, original) = (1.0, 4.0, 8192.0);
        let fits = factors.iter().enumerate().all(|(i, &found)| {
            let expected =
                llama3_divisor(i, head_dim, theta, f64::from(factor), low, high, original);
            (f64::from(found) - expected).abs() <= 1e-4 * expected
        });
        if !fits {
            let expected = "those of Llama 3.x (low 1, high 4, original context 8192)";
            return Err(GgufError::value(ROPE_FACTORS, format!("up to {factor}"), expected));
        }
        Ok(json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": low,
            "high_freq_factor": high, "original_max_position_embeddings": original as u64,
        }))
    }
}

/// The divisor of frequency `i` in Llama 3's scaling (`_compute_llama3_parameters` of
/// transformers, `generate_extra_tensors` of llama.cpp's `convert_hf_to_gguf.py`).
pub(super) fn llama3_divisor(
    i: usize,
    head_dim: usize,
    theta: f64,
    factor: f64,
    low: f64,
    high: f64,
    original: f64,
) -> f64 {
    let wavelength = 2.0 * std::f64::consts::PI * theta.powf((2 * i) as f64 / head_dim as f64);
    if wavelength < original / high {
        1.0
    } else if wavelength > original / low {
        factor
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        1.0 / ((1.0 - smooth) / factor + smooth)
    }
}

/// GGUF's architecture for a `model_type`.
pub(super) fn gguf_architecture(model_type: &str) -> Result<&'static str, GgufError> {
    let known = ARCHITECTURES.iter().find(|(_, known, _)| *known == model_type);
    known.map(|entry| entry.0).ok_or_else(|| {
        let known = ARCHITECTURES.map(|entry| entry.1).join(", ");
        GgufError::value("model_type", model_type, format!("one of {known}"))
    })
}
