//! Reads the layers of a decoder from named tensors. Only this module knows the tensors'
//! names and decides how each matrix is held.

use std::sync::{Arc, OnceLock};

use rayon::prelude::*;
use tokenroute_kernels::{Format, Pool, QuantMatrix};

use super::{Linear, Matrix};
use crate::weights::{EMBEDDING, HEAD, WeightSource};
use crate::{Config, Family, LoadError};

/// The source of the matrices and the format to hold them in.
#[derive(Clone, Copy)]
pub(crate) struct Loading<'a> {
    pub(crate) source: &'a dyn WeightSource,
    /// Threads that pack the matrices and later multiply by them.
    pub(crate) pool: &'a Pool,
    /// Format that floats are quantised to.
    pub(crate) quantize: Option<Format>,
}

/// One decoder layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) attention_norm: Vec<f32>,
    /// hidden → queries, keys and values, stacked
    pub(crate) qkv: Matrix,
    /// Weights `[head_dim]` of the norms of query and key heads, in models that have them.
    pub(crate) qk_norm: Option<(Vec<f32>, Vec<f32>)>,
    pub(crate) output: Matrix,
    pub(crate) mlp_norm: Vec<f32>,
    /// hidden → gate and up, stacked
    pub(crate) gate_up: Matrix,
    pub(crate) down: Matrix,
    /// Weights `[hidden]` of the norms after attention and MLP, in models that have them.
    pub(crate) post_norms: Option<(Vec<f32>, Vec<f32>)>,
    /// Whether queries and keys are rotated.
    pub(crate) rotates: bool,
    /// Positions that a row sees, its own included; `None` is all.
    pub(crate) window: Option<usize>,
}

impl Layer {
    /// Reads layer `index`.
    pub(crate) fn read(
        loading: Loading<'_>,
        config: &Config,
        index: usize,
    ) -> Result<Self, LoadError> {
        let source = loading.source;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let (queries, key_value) = (config.query_size(), config.key_value_size());
        let name = |part: &str| format!("model.layers.{index}.{part}");
        let linear = |inputs, bias, parts: &[(&str, usize)]| {
            let mut stack = Stack::new(loading, inputs, bias);
            for &(part, outputs) in parts {
                stack.push(&name(part), outputs)?;
            }
            stack.matrix(loading.quantize)
        };
        let norm = |part: &str, width: usize| source.tensor(&name(part), &[width]);
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

impl Layer {
    fn matrices(&self) -> [&Matrix; 4] {
        [&self.qkv, &self.output, &self.gate_up, &self.down]
    }

    /// Bytes of the matrices.
    pub(crate) fn bytes(&self) -> usize {
        self.matrices().iter().map(|m| m.bytes()).sum()
    }

    /// Whether a matrix is quantised.
    pub(crate) fn is_quantised(&self) -> bool {
        self.matrices().iter().any(|m| m.format().is_some())
    }
}

/// Weight of the final norm `[hidden]`.
pub(crate) fn final_norm(
    source: &dyn WeightSource,
    config: &Config,
) -> Result<Vec<f32>, LoadError> {
    source.tensor("model.norm.weight", &[config.hidden_size])
}

/// The first `vocabulary` rows of the LM head: hidden → logits. As in llama.cpp, it never
/// has fewer than 8 bits, since a token's logit depends on a single row.
pub(crate) fn head(
    loading: Loading<'_>,
    config: &Config,
    vocabulary: usize,
) -> Result<Matrix, LoadError> {
    let tensor = if config.tie_word_embeddings { EMBEDDING } else { HEAD };
    loading.source.check(tensor, &[config.vocab_size, config.hidden_size])?;
    let mut stack = Stack::new(loading, config.hidden_size, false);
    stack.parts.push((tensor.to_owned(), vocabulary));
    stack.matrix(loading.quantize.map(|_| Format::Q8_0))
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

/// Several matrices stacked by rows and read as one.
struct Stack<'a> {
    loading: Loading<'a>,
    inputs: usize,
    /// Checked tensors and the number of rows that each adds.
    parts: Vec<(String, usize)>,
    bias: Option<Vec<f32>>,
}

impl<'a> Stack<'a> {
    fn new(loading: Loading<'a>, inputs: usize, bias: bool) -> Self {
        Stack { loading, inputs, parts: Vec::new(), bias: bias.then(Vec::new) }
    }

    /// Adds `{module}.weight` `[outputs, inputs]` and, with biases, `{module}.bias`.
    fn push(&mut self, module: &str, outputs: usize) -> Result<(), LoadError> {
        let weight = format!("{module}.weight");
        self.loading.source.check(&weight, &[outputs, self.inputs])?;
        if let Some(bias) = &mut self.bias {
            bias.extend(self.loading.source.tensor(&format!("{module}.bias"), &[outputs])?);
        }
        self.parts.push((weight, outputs));
        Ok(())
    }

    /// Reads rows of the stack from `first` on.
    fn rows(&self, mut first: usize, mut out: &mut [f32]) -> Result<(), LoadError> {
        for (tensor, outputs) in &self.parts {
            if first >= *outputs {
                first -= outputs;
                continue;
            }
            let here = (outputs - first).min(out.len() / self.inputs);
            let (rows, rest) = out.split_at_mut(here * self.inputs);
            self.loading.source.finite_rows(tensor, first, self.inputs, rows)?;
            out = rest;
            first = 0;
            if out.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// The tensor that holds row `row` of the stack, and the row's index there.
    fn part(&self, mut row: usize) -> Option<(&str, usize)> {
        for (tensor, outputs) in &self.parts {
            if row < *outputs {
                return Some((tensor, row));
            }
            row -= outputs;
        }
        None
    }

    /// The format that the stack is held in: `quantize` if given, else the format that all
    /// parts are stored in. Parts of different formats become Q8_0.
    fn format(&self, quantize: Option<Format>) -> Option<Format> {
        quantize.or_else(|| {
            let formats: Option<Vec<_>> =
                self.parts.iter().map(|(tensor, _)| self.loading.source.format(tensor)).collect();
            let (first, rest) = formats?.split_first().map(|(f, rest)| (*f, rest.to_vec()))?;
            Some(if rest.iter().all(|f| *f == first) { first } else { Format::Q8_0 })
        })
    }

    fn matrix(&self, quantize: Option<Format>) -> Result<Matrix, LoadError> {
        let outputs = self.parts.iter().map(|part| part.1).sum();
        let Some(format) = self.format(quantize) else {
            let read = |first: usize, out: &mut [f32]| self.rows(first, out);
            return Linear::pack(self.inputs, outputs, self.bias.as_deref(), read)
                .map(Matrix::Plain);
        };
        let weights = self.quantised(format, outputs)?;
        Ok(Matrix::Quantised { weights, bias: self.bias.clone().unwrap_or_default() })
    }

    fn quantised(&self, format: Format, outputs: usize) -> Result<QuantMatrix, LoadError> {
        let Loading { source, pool, .. } = self.loading;
        let blocks = |row: usize| {
            let (tensor, row) = self.part(row)?;
            source.blocks(tensor, row, format)
        };
        let failed = OnceLock::new();
        let mut first = 0;
        let stored = self.parts.iter().all(|(_, outputs)| {
            first += outputs;
            blocks(first - outputs).is_some()
        });
        let packed = if stored {
            let row = |o| blocks(o).unwrap_or_default();
            QuantMatrix::from_block_rows(pool, format, outputs, self.inputs, row)
        } else {
            QuantMatrix::from_rows(pool, format, outputs, self.inputs, |o, out| {
                if let Err(error) = self.rows(o, out) {
                    // One error is enough; any of several will do.
                    let _ = failed.set(error);
                    out.fill(0.0);
                }
            })
        };
        match failed.into_inner() {
            Some(error) => Err(error),
            None => packed.map_err(|error| {
                let tensor = self.parts.first().map_or("", |part| &part.0);
                LoadError::Pack {
                    path: source.path(tensor).to_owned(),
                    tensor: tensor.to_owned(),
                    message: error.to_string(),
                }
            }),
        }
    }
}
