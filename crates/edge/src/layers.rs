//! From named tensors to what the decoder computes with: the one place that knows
//! the tensors' names, and the one to change for another type of matrix.

use std::sync::Arc;

use crate::kernel::Linear;
use crate::weights::WeightSource;
use crate::{Config, EdgeError};

const EMBEDDING: &str = "model.embed_tokens.weight";

/// One decoder layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    /// hidden → queries, keys and values side by side
    pub(crate) qkv: Linear,
    /// Weights of the norms of query and key heads `[head_dim]`, if there are any.
    pub(crate) qk_norm: Option<(Vec<f32>, Vec<f32>)>,
    pub(crate) output: Linear,
    pub(crate) mlp_norm: Vec<f32>,
    /// hidden → gate and up side by side
    pub(crate) gate_up: Linear,
    pub(crate) down: Linear,
    /// Positions a row sees, its own included; `None` is all.
    pub(crate) window: Option<usize>,
}

impl Layer {
    /// Reads layer `index`.
    pub(crate) fn read(
        source: &dyn WeightSource,
        config: &Config,
        index: usize,
    ) -> Result<Self, EdgeError> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (queries, key_value) = (config.query_size(), config.key_value_size());
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let linear = |inputs, bias, parts: &[(&str, usize)]| {
            let mut stack = Stack::new(source, inputs, bias);
            for &(part, outputs) in parts {
                stack.push(&name(part), outputs)?;
            }
            stack.linear()
        };
        let norm = |part: &str, width: usize| source.tensor(&name(part), &[width]);
        let qkv = [
            ("self_attn.q_proj", queries),
            ("self_attn.k_proj", key_value),
            ("self_attn.v_proj", key_value),
        ];
        let qk_norm = || {
            let [q, k] = ["self_attn.q_norm.weight", "self_attn.k_norm.weight"]
                .map(|part| norm(part, config.head_dim));
            Ok::<_, EdgeError>((q?, k?))
        };
        Ok(Layer {
            attention_norm: norm("input_layernorm.weight", hidden)?,
            qkv: linear(hidden, config.qkv_bias, &qkv)?,
            qk_norm: config.qk_norm.then(qk_norm).transpose()?,
            output: linear(queries, config.output_bias, &[("self_attn.o_proj", hidden)])?,
            mlp_norm: norm("post_attention_layernorm.weight", hidden)?,
            gate_up: linear(
                hidden,
                config.mlp_bias,
                &[("mlp.gate_proj", inner), ("mlp.up_proj", inner)],
            )?,
            down: linear(inner, config.mlp_bias, &[("mlp.down_proj", hidden)])?,
            window: config.windows.get(index).copied().flatten(),
        })
    }
}

/// Weight of the final norm `[hidden]`.
pub(crate) fn final_norm(
    source: &dyn WeightSource,
    config: &Config,
) -> Result<Vec<f32>, EdgeError> {
    source.tensor("model.norm.weight", &[config.hidden_size])
}

/// The first `vocabulary` rows of the LM head: hidden → logits.
pub(crate) fn head(
    source: &dyn WeightSource,
    config: &Config,
    vocabulary: usize,
) -> Result<Linear, EdgeError> {
    let tensor = if config.tie_word_embeddings { EMBEDDING } else { "lm_head.weight" };
    source.check(tensor, &[config.vocab_size, config.hidden_size])?;
    let mut stack = Stack::new(source, config.hidden_size, false);
    stack.parts.push((tensor.to_owned(), vocabulary));
    stack.linear()
}

/// The input embedding. Its rows stay where they are stored and are read one by
/// one, so that a large vocabulary costs no memory of its own.
#[derive(Debug)]
pub(crate) struct Embedding {
    source: Arc<dyn WeightSource>,
    hidden: usize,
}

impl Embedding {
    /// Checks the first `vocabulary` rows.
    pub(crate) fn new(
        source: Arc<dyn WeightSource>,
        config: &Config,
        vocabulary: usize,
    ) -> Result<Self, EdgeError> {
        const SOME: usize = 256;
        let hidden = config.hidden_size;
        source.check(EMBEDDING, &[config.vocab_size, hidden])?;
        // A tied head has read them already.
        if !config.tie_word_embeddings {
            let mut rows = vec![0.0; SOME.min(vocabulary) * hidden];
            for first in (0..vocabulary).step_by(SOME) {
                let rows = &mut rows[..SOME.min(vocabulary - first) * hidden];
                source.finite_rows(EMBEDDING, first, hidden, rows)?;
            }
        }
        Ok(Embedding { source, hidden })
    }

    /// Writes a token's row `[hidden]`.
    pub(crate) fn row(&self, token: usize, out: &mut [f32]) -> Result<(), EdgeError> {
        self.source.rows(EMBEDDING, token, self.hidden, out)
    }
}

/// Matrices one above another, read as one.
struct Stack<'a> {
    source: &'a dyn WeightSource,
    inputs: usize,
    /// Tensors that were checked, and how many of their rows count.
    parts: Vec<(String, usize)>,
    bias: Option<Vec<f32>>,
}

impl<'a> Stack<'a> {
    fn new(source: &'a dyn WeightSource, inputs: usize, bias: bool) -> Self {
        Stack { source, inputs, parts: Vec::new(), bias: bias.then(Vec::new) }
    }

    /// Adds `{module}.weight` `[outputs, inputs]` and, with biases, `{module}.bias`.
    fn push(&mut self, module: &str, outputs: usize) -> Result<(), EdgeError> {
        let weight = format!("{module}.weight");
        self.source.check(&weight, &[outputs, self.inputs])?;
        if let Some(bias) = &mut self.bias {
            bias.extend(self.source.tensor(&format!("{module}.bias"), &[outputs])?);
        }
        self.parts.push((weight, outputs));
        Ok(())
    }

    /// Reads rows of the whole from `first` on.
    fn rows(&self, mut first: usize, mut out: &mut [f32]) -> Result<(), EdgeError> {
        for (tensor, outputs) in &self.parts {
            if first >= *outputs {
                first -= outputs;
                continue;
            }
            let here = (outputs - first).min(out.len() / self.inputs);
            let (rows, rest) = out.split_at_mut(here * self.inputs);
            self.source.finite_rows(tensor, first, self.inputs, rows)?;
            out = rest;
            first = 0;
            if out.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn linear(&self) -> Result<Linear, EdgeError> {
        let outputs = self.parts.iter().map(|part| part.1).sum();
        Linear::pack(self.inputs, outputs, self.bias.as_deref(), |first, out| self.rows(first, out))
    }
}
