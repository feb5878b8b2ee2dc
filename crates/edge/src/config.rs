//! The model's configuration: Hugging Face's `config.json` of Qwen2, and what of
//! it this decoder refuses because it would change the computation.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::EdgeError;

/// Shape and constants of a Qwen2 decoder, named as in `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Rows of the embedding; may exceed the tokenizer's vocabulary (padding).
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU inner layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Added to the mean square before the root.
    #[serde(default = "default_eps")]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[serde(default = "default_theta")]
    pub rope_theta: f64,
    /// Whether the LM head is the embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
}

fn default_eps() -> f64 {
    1e-6
}

fn default_theta() -> f64 {
    10_000.0
}

/// Fields that must be absent, null or one of these values: anything else would
/// need code this decoder does not have.
const ONLY: &[(&str, &[&str])] = &[
    ("model_type", &["\"qwen2\""]),
    ("architectures", &["[\"Qwen2ForCausalLM\"]"]),
    ("hidden_act", &["\"silu\""]),
    ("use_sliding_window", &["false"]),
    ("rope_scaling", &[]),
    ("quantization_config", &[]),
    ("partial_rotary_factor", &["1", "1.0"]),
    ("attention_bias", &["true"]),
    ("mlp_bias", &["false"]),
    ("use_qk_norm", &["false"]),
    ("attn_logit_softcapping", &[]),
    ("final_logit_softcapping", &[]),
    ("num_experts", &["0"]),
];

impl Config {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// A file that cannot be read or parsed, and every field this decoder cannot
    /// honour, by name.
    pub fn read(path: &Path) -> Result<Self, EdgeError> {
        Self::parse(path, &read_json(path, "a Hugging Face config.json")?)
    }

    /// The same from parsed JSON; `path` is only named in errors.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(path: &Path, json: &Value) -> Result<Self, EdgeError> {
        let bad = |field: &str, value: &Value, expected: String| EdgeError::Config {
            path: path.to_owned(),
            field: field.to_owned(),
            value: value.to_string(),
            expected,
        };
        if json.get("model_type").is_none_or(Value::is_null) {
            return Err(bad("model_type", &Value::Null, "\"qwen2\"".to_owned()));
        }
        for &(field, allowed) in ONLY {
            let value = json.get(field).unwrap_or(&Value::Null);
            if !value.is_null() && !allowed.contains(&value.to_string().as_str()) {
                let expected = if allowed.is_empty() { "it absent" } else { allowed[0] };
                return Err(bad(field, value, format!("{expected}, all that is implemented")));
            }
        }
        if let Some(types) = json.get("layer_types").and_then(Value::as_array)
            && let Some(other) = types.iter().find(|t| t.as_str() != Some("full_attention"))
        {
            return Err(bad("layer_types", other, "\"full_attention\" everywhere".to_owned()));
        }
        let mut config: Config = serde_json::from_value(json.clone()).map_err(|error| {
            EdgeError::Json { path: path.to_owned(), message: error.to_string() }
        })?;
        // Newer exports nest the rotary constants.
        if let Some(rope) = json.get("rope_parameters").filter(|rope| !rope.is_null()) {
            if let Some(kind) = rope.get("rope_type").filter(|k| k.as_str() != Some("default")) {
                return Err(bad("rope_parameters.rope_type", kind, "\"default\"".to_owned()));
            }
            if let Some(theta) = rope.get("rope_theta") {
                config.rope_theta = theta.as_f64().ok_or_else(|| {
                    bad("rope_parameters.rope_theta", theta, "a number".to_owned())
                })?;
            }
        }
        config.check(path)?;
        if let Some(head_dim) = json.get("head_dim").filter(|d| !d.is_null())
            && head_dim.as_u64() != Some(config.head_dim() as u64)
        {
            let expected = format!("hidden_size / num_attention_heads = {}", config.head_dim());
            return Err(bad("head_dim", head_dim, expected));
        }
        Ok(config)
    }

    /// Width of one attention head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// Width of all key heads together, which is that of all value heads.
    #[must_use]
    pub fn key_value_size(&self) -> usize {
        self.head_dim() * self.num_key_value_heads
    }

    fn check(&self, path: &Path) -> Result<(), EdgeError> {
        let bad = |field: &str, value: String, expected: String| EdgeError::Config {
            path: path.to_owned(),
            field: field.to_owned(),
            value,
            expected,
        };
        for (field, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("max_position_embeddings", self.max_position_embeddings),
        ] {
            if value == 0 || value > 1 << 24 {
                return Err(bad(field, value.to_string(), "a number from 1 to 2^24".to_owned()));
            }
        }
        if !self.hidden_size.is_multiple_of(2 * self.num_attention_heads) {
            let expected =
                format!("a multiple of 2 x num_attention_heads = {}", 2 * self.num_attention_heads);
            return Err(bad("hidden_size", self.hidden_size.to_string(), expected));
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let expected =
                format!("a divisor of num_attention_heads = {}", self.num_attention_heads);
            return Err(bad("num_key_value_heads", self.num_key_value_heads.to_string(), expected));
        }
        for (field, value) in [("rms_norm_eps", self.rms_norm_eps), ("rope_theta", self.rope_theta)]
        {
            if !(value.is_finite() && value > 0.0) {
                return Err(bad(field, value.to_string(), "a positive number".to_owned()));
            }
        }
        Ok(())
    }
}

/// End tokens of a model directory: `eos_token_id` (an id or a list) of
/// `generation_config.json` if it says, else of `config.json`.
///
/// # Errors
/// No end token in either file, or one that is not an id.
pub(crate) fn end_tokens(dir: &Path, config: &Value) -> Result<Vec<u32>, EdgeError> {
    let path = dir.join("generation_config.json");
    let generation = if path.exists() { read_json(&path, "a JSON object")? } else { Value::Null };
    let (path, value) = match generation.get("eos_token_id").filter(|v| !v.is_null()) {
        Some(value) => (path, value.clone()),
        None => {
            (dir.join("config.json"), config.get("eos_token_id").cloned().unwrap_or(Value::Null))
        }
    };
    let id = |v: &Value| v.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = match &value {
        Value::Array(list) => list.iter().map(id).collect(),
        one => id(one).map(|id| vec![id]),
    };
    ids.filter(|ids| !ids.is_empty()).ok_or_else(|| EdgeError::Config {
        path,
        field: "eos_token_id".to_owned(),
        value: value.to_string(),
        expected: "a token id or a list of them, in generation_config.json or config.json"
            .to_owned(),
    })
}

/// Reads a JSON file.
pub(crate) fn read_json(path: &Path, expected: &'static str) -> Result<Value, EdgeError> {
    let bytes = std::fs::read(path).map_err(|source| EdgeError::Read {
        path: path.to_owned(),
        expected,
        source,
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| EdgeError::Json { path: path.to_owned(), message: error.to_string() })
}
