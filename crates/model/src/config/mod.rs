//! A model's shape and constants, read from `config.json` or from GGUF metadata, and the
//! limits of this decoder.

mod hugging_face;
mod rope;

use std::path::Path;

use crate::LoadError;

pub use rope::{Rope, RopeScaling};

pub(crate) use hugging_face::end_tokens;

/// The architectures this decoder implements, by `model_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Qwen2 and Qwen2.5: biases on queries, keys and values.
    Qwen2,
    /// Qwen3: RMS norm of every query and key head.
    Qwen3,
    /// Llama 2 and 3, SmolLM2.
    Llama,
    /// Mistral: a sliding window in every layer, or none.
    Mistral,
    /// SmolLM3: some layers do not rotate queries and keys.
    SmolLm3,
    /// Phi-3, Phi-3.5 and Phi-4-mini: queries, keys and values in one tensor, gate and up in
    /// another; a part of each head may be rotated.
    Phi3,
    /// Gemma 3, from GGUF files alone: what `Config::gemma` adds, and windows in five layers of six.
    Gemma3,
}

impl Family {
    /// Those of a folder in Hugging Face layout.
    pub const ALL: [Family; 6] = [
        Family::Qwen2,
        Family::Qwen3,
        Family::Llama,
        Family::Mistral,
        Family::SmolLm3,
        Family::Phi3,
    ];

    /// `model_type` of `config.json`.
    #[must_use]
    pub fn model_type(self) -> &'static str {
        match self {
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
            Family::Llama => "llama",
            Family::Mistral => "mistral",
            Family::SmolLm3 => "smollm3",
            Family::Phi3 => "phi3",
            Family::Gemma3 => "gemma3_text",
        }
    }

    /// The only entry allowed in `architectures` of `config.json`.
    #[must_use]
    pub fn architecture(self) -> &'static str {
        match self {
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Qwen3 => "Qwen3ForCausalLM",
            Family::Llama => "LlamaForCausalLM",
            Family::Mistral => "MistralForCausalLM",
            Family::SmolLm3 => "SmolLM3ForCausalLM",
            Family::Phi3 => "Phi3ForCausalLM",
            Family::Gemma3 => "Gemma3ForCausalLM",
        }
    }
}

/// Shape and constants of a decoder, named as in `config.json` where it has a name.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The architecture. The fields below hold everything that it implies.
    pub family: Family,
    /// Rows of the embedding. They may exceed the tokenizer's vocabulary (padding).
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU inner layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; a divisor of `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one attention head, an even number. The heads together need not be as wide
    /// as the residual stream.
    pub head_dim: usize,
    /// Longest sequence. With [`RopeScaling::LongRope`] it is that of the first training: for longer
    /// ones the rotation of every key would change.
    pub max_position_embeddings: usize,
    /// Added to the mean square before the root.
    pub rms_norm_eps: f64,
    /// The rotary embedding.
    pub rope: Rope,
    /// Dimensions of a head that are rotated, the first ones; an even number.
    pub rotary_dim: usize,
    /// Whether each layer rotates queries and keys.
    pub rotates: Vec<bool>,
    /// Whether the weights are random, as `tokenroute random-model` marks them. The answers
    /// of such a model mean nothing.
    pub random_weights: bool,
    /// Whether the LM head is the embedding.
    pub tie_word_embeddings: bool,
    /// Biases on queries, keys and values.
    pub qkv_bias: bool,
    /// A bias on the attention's output projection.
    pub output_bias: bool,
    /// Biases on the three MLP projections.
    pub mlp_bias: bool,
    /// RMS norm of every query and key head before the rotation.
    pub qk_norm: bool,
    /// Positions that a row sees in each layer, its own included; `None` is all.
    pub windows: Vec<Option<usize>>,
    /// What only Gemma 3 has.
    pub gemma: Option<Gemma>,
}

/// What only Gemma 3 has: an embedding times √hidden, RMS norms after attention and MLP, GELU
/// (its tanh form) for SiLU, and these constants.
#[derive(Debug, Clone, PartialEq)]
pub struct Gemma {
    /// The rotary embedding of layers with a window.
    pub local_rope: Rope,
    /// Queries are divided by the root of this number.
    pub query_pre_attn_scalar: f64,
}

impl Config {
    /// Width of all query heads together.
    #[must_use]
    pub fn query_size(&self) -> usize {
        self.head_dim * self.num_attention_heads
    }

    /// Width of all key heads together, equal to that of all value heads.
    #[must_use]
    pub fn key_value_size(&self) -> usize {
        self.head_dim * self.num_key_value_heads
    }

    /// Multiply-adds of `rows` tokens with the layers' weights, and of `head_rows` of them with
    /// an LM head of `vocabulary` rows. Attention is not counted.
    pub(crate) fn multiply_adds(&self, vocabulary: usize, rows: usize, head_rows: usize) -> usize {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let attention = 2 * hidden * (self.query_size() + self.key_value_size());
        let layers = self.num_hidden_layers * (attention + 3 * hidden * inner);
        rows * layers + head_rows * hidden * vocabulary
    }

    /// Checks that the numbers fit together. `path` only appears in errors.
    ///
    /// # Errors
    /// The first field that is out of range or contradicts another.
    pub fn check(&self, path: &Path) -> Result<(), LoadError> {
        const MOST: usize = 1 << 24;
        const LAYERS: usize = 1 << 10;
        let bad = |field: &str, value: String, expected: String| LoadError::Config {
            path: path.to_owned(),
            field: field.to_owned(),
            value,
            expected,
        };
        for (field, value, most) in [
            ("vocab_size", self.vocab_size, MOST),
            ("hidden_size", self.hidden_size, MOST),
            ("intermediate_size", self.intermediate_size, MOST),
            ("num_hidden_layers", self.num_hidden_layers, LAYERS),
            ("num_attention_heads", self.num_attention_heads, MOST),
            ("num_key_value_heads", self.num_key_value_heads, MOST),
            ("head_dim", self.head_dim, MOST),
            ("max_position_embeddings", self.max_position_embeddings, MOST),
        ] {
            if value == 0 || value > most {
                return Err(bad(field, value.to_string(), format!("a number from 1 to {most}")));
            }
        }
        let heads = self.num_attention_heads;
        if !self.head_dim.is_multiple_of(2) {
            let expected = "an even number, since the rotary embedding rotates pairs".to_owned();
            return Err(bad("head_dim", self.head_dim.to_string(), expected));
        }
        if !(self.rotary_dim.is_multiple_of(2) && (2..=self.head_dim).contains(&self.rotary_dim)) {
            let expected = format!("a share of a head of {} that rotates pairs", self.head_dim);
            return Err(bad("partial_rotary_factor", self.rotary_dim.to_string(), expected));
        }
        if !heads.is_multiple_of(self.num_key_value_heads) {
            let expected = format!("a divisor of num_attention_heads = {heads}");
            return Err(bad("num_key_value_heads", self.num_key_value_heads.to_string(), expected));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            let expected = "a positive number".to_owned();
            return Err(bad("rms_norm_eps", self.rms_norm_eps.to_string(), expected));
        }
        if self.windows.len() != self.num_hidden_layers {
            let expected = format!("one entry for each of {} layers", self.num_hidden_layers);
            return Err(bad("layer_types", format!("{} long", self.windows.len()), expected));
        }
        if self.rotates.len() != self.num_hidden_layers {
            let expected = format!("one entry for each of {} layers", self.num_hidden_layers);
            return Err(bad("no_rope_layers", format!("{} long", self.rotates.len()), expected));
        }
        if self.windows.contains(&Some(0)) {
            return Err(bad("sliding_window", "0".to_owned(), "a positive number".to_owned()));
        }
        let positive = |(field, value): (&str, f64)| {
            bad(field, value.to_string(), "a positive number that fits the others".to_owned())
        };
        self.rope.check(self.rotary_dim).map_err(positive)?;
        if let Some(gemma) = &self.gemma {
            gemma.local_rope.check(self.rotary_dim).map_err(positive)?;
            let scalar = gemma.query_pre_attn_scalar;
            if !(scalar.is_finite() && scalar > 0.0) {
                return Err(positive(("query_pre_attn_scalar", scalar)));
            }
        }
        Ok(())
    }
}
