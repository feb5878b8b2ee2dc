//! Reads the layers of a decoder from named tensors. Only this module knows the tensors'
//! names. A [`Holder`] decides how weights are held.

use std::sync::Arc;

use rayon::prelude::*;

use super::stack::Stack;
use crate::weights::{EMBEDDING, HEAD, WeightSource};
use crate::{Config, Family, LoadError};

/// How a decoder holds its weights.
pub(crate) trait Holder {
    /// A linear layer.
    type Matrix;
    /// The weights of a norm.
    type Norm;

    /// The source of the weights.
    fn source(&self) -> &dyn WeightSource;

    /// Reads a stack of matrices as one.
    fn matrix(&self, stack: &Stack<'_>) -> Result<Self::Matrix, LoadError>;

    /// Holds the weights of a norm.
    fn norm(&self, weights: Vec<f32>) -> Result<Self::Norm, LoadError>;
}

/// One decoder layer.
#[derive(Debug)]
pub(crate) struct Layer<M, N> {
    pub(crate) attention_norm: N,
    /// hidden → queries, keys and values, stacked
    pub(crate) qkv: M,
    /// Weights `[head_dim]` of the norms of query and key heads, in models that have them.
    pub(crate) qk_norm: Option<(N, N)>,
    pub(crate) output: M,
    pub(crate) mlp_norm: N,
    /// hidden → gate and up, stacked
    pub(crate) gate_up: M,
    pub(crate) down: M,
    /// Weights `[hidden]` of the norms after attention and MLP, in models that have them.
    pub(crate) post_norms: Option<(N, N)>,
    /// Whether queries and keys are rotated.
    pub(crate) rotates: bool,
    /// Positions that a row sees, its own included; `None` is all.
    pub(crate) window: Option<usize>,
}

impl<M, N> Layer<M, N> {
    /// Reads layer `index`.
    pub(crate) fn read(
        holder: &impl Holder<Matrix = M, Norm = N>,
        config: &Config,
        index: usize,
    ) -> Result<Self, LoadError> {
        let source = holder.source();
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (queries, key_value) = (config.query_size(), config.key_value_size());
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let linear = |inputs, bias, parts: &[(&str, usize)]| {
            let mut stack = Stack::new(source, inputs, bias);
            for &(part, outputs) in parts {
                stack.push(&name(part), outputs)?;
            }
            holder.matrix(&stack)
        };
        let norm = |part: &str, width| holder.norm(source.tensor(&name(part), &[width])?);
        let qkv = [
            ("self_attn.q_proj", queries),
            ("self_attn.k_proj", key_value),
            ("self_attn.v_proj", key_value),
        ];
        let gate_up = [("mlp.gate_proj", inner), ("mlp.up_proj", inner)];
        // Phi-3 stores them stacked, as they are held here.
        let stacked_qkv = [("self_attn.qkv_proj", queries + 2 * key_value)];
        let stacked_gate_up = [("mlp.gate_up_proj", 2 * inner)];
        let (qkv, gate_up) = match config.family {
            Family::Phi3 => (&stacked_qkv[..], &stacked_gate_up[..]),
            _ => (&qkv[..], &gate_up[..]),
        };
        let qk_norm = || {
            let [q, k] = ["self_attn.q_norm.weight", "self_attn.k_norm.weight"]
                .map(|part| norm(part, config.head_dim));
            Ok::<_, LoadError>((q?, k?))
        };
        let post_norms = || {
            let [attention, mlp] = ["self_attn.post_norm.weight", "mlp.post_norm.weight"]
                .map(|part| norm(part, hidden));
            Ok::<_, LoadError>((attention?, mlp?))
        };
        Ok(Layer {
            attention_norm: norm("input_layernorm.weight", hidden)?,
            qkv: linear(hidden, config.qkv_bias, qkv)?,
            qk_norm: config.qk_norm.then(qk_norm).transpose()?,
            output: linear(queries, config.output_bias, &[("self_attn.o_proj", hidden)])?,
            mlp_norm: norm("post_attention_layernorm.weight", hidden)?,
            gate_up: linear(hidden, config.mlp_bias, gate_up)?,
            down: linear(inner, config.mlp_bias, &[("mlp.down_proj", hidden)])?,
            post_norms: config.gemma.is_some().then(post_norms).transpose()?,
            rotates: config.rotates.get(index).copied().unwrap_or(true),
            window: config.windows.get(index).copied().flatten(),
        })
    }
}

/// Weight of the final norm `[hidden]`.
pub(crate) fn final_norm(
    source: &dyn WeightSource,
    config: &Config,
) -> Result<Vec<f32>, LoadError> {
    source.tensor("model.norm.weight", &[config.hidden_size])
}

/// The first `vocabulary` rows of the LM head: hidden → logits.
pub(crate) fn head_stack<'a>(
    source: &'a dyn WeightSource,
    config: &Config,
    vocabulary: usize,
) -> Result<Stack<'a>, LoadError> {
    let tensor = if config.tie_word_embeddings { EMBEDDING } else { HEAD };
    source.check(tensor, &[config.vocab_size, config.hidden_size])?;
    let mut stack = Stack::new(source, config.hidden_size, false);
    stack.push_rows(tensor, vocabulary);
    Ok(stack)
}

/// The input embedding. Its rows stay in the file and are read one by one, so a large
/// vocabulary takes no memory.
#[derive(Debug)]
pub(crate) struct Embedding {
    source: Arc<dyn WeightSource>,
    hidden: usize,
}

impl Embedding {
    /// Opens the embedding and checks its first `vocabulary` rows.
    pub(crate) fn new(
        source: Arc<dyn WeightSource>,
        config: &Config,
        vocabulary: usize,
    ) -> Result<Self, LoadError> {
        const SOME: usize = 1024;
        let hidden = config.hidden_size;
        source.check(EMBEDDING, &[config.vocab_size, hidden])?;
        // A tied LM head has read and checked them already.
        if !config.tie_word_embeddings {
            (0..vocabulary.div_ceil(SOME)).into_par_iter().try_for_each(|part| {
                let first = part * SOME;
                source.check_finite(EMBEDDING, first, hidden, SOME.min(vocabulary - first))
            })?;
        }
        Ok(Embedding { source, hidden })
    }

    /// Writes a token's row `[hidden]`.
    pub(crate) fn row(&self, token: usize, out: &mut [f32]) -> Result<(), LoadError> {
        self.source.rows(EMBEDDING, token, self.hidden, out)
    }
}
