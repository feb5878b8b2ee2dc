//! Holds the weights of a decoder for the kernels: decides the format of each matrix, and
//! packs it.

use std::borrow::Cow;
use std::sync::OnceLock;

use tokenroute_kernels::{Format, Pool, QuantMatrix};

use super::layers::{Holder, Layer, head_stack};
use super::stack::Stack;
use super::{Linear, Matrix};
use crate::weights::{BlockRows, WeightSource};
use crate::{Config, LoadError};

/// The source of the matrices and the format to hold them in.
#[derive(Clone, Copy)]
pub(crate) struct Packing<'a> {
    pub(crate) source: &'a dyn WeightSource,
    /// Threads that pack the matrices and later multiply by them.
    pub(crate) pool: &'a Pool,
    /// Format that floats are quantised to.
    pub(crate) quantize: Option<Format>,
}

/// A layer whose matrices are packed.
pub(crate) type PackedLayer = Layer<Matrix, Vec<f32>>;

impl PackedLayer {
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

impl Holder for Packing<'_> {
    type Matrix = Matrix;
    type Norm = Vec<f32>;

    fn source(&self) -> &dyn WeightSource {
        self.source
    }

    fn matrix(&self, stack: &Stack<'_>) -> Result<Matrix, LoadError> {
        self.pack(stack, self.quantize)
    }

    fn norm(&self, weights: Vec<f32>) -> Result<Vec<f32>, LoadError> {
        Ok(weights)
    }
}

impl Packing<'_> {
    /// The LM head. As in llama.cpp, it never has fewer than 8 bits, since a token's logit
    /// depends on a single row.
    pub(crate) fn head(&self, config: &Config, vocabulary: usize) -> Result<Matrix, LoadError> {
        let stack = head_stack(self.source, config, vocabulary)?;
        self.pack(&stack, self.quantize.map(|_| Format::Q8_0))
    }

    /// The format that the stack is held in: `quantize` if given, else the format that all
    /// parts are stored in. Parts of different formats become Q8_0.
    fn format(&self, stack: &Stack<'_>, quantize: Option<Format>) -> Option<Format> {
        quantize.or_else(|| {
            let parts = stack.parts().iter();
            let formats: Option<Vec<_>> =
                parts.map(|(tensor, _)| self.source.format(tensor)).collect();
            let (first, rest) = formats?.split_first().map(|(f, rest)| (*f, rest.to_vec()))?;
            Some(if rest.iter().all(|f| *f == first) { first } else { Format::Q8_0 })
        })
    }

    fn pack(&self, stack: &Stack<'_>, quantize: Option<Format>) -> Result<Matrix, LoadError> {
        let Some(format) = self.format(stack, quantize) else {
            let read = |first: usize, out: &mut [f32]| stack.rows(first, out);
            return Linear::pack(stack.inputs(), stack.outputs(), stack.bias(), read)
                .map(Matrix::Plain);
        };
        let weights = self.quantised(stack, format)?;
        Ok(Matrix::Quantised { weights, bias: stack.bias().map_or_else(Vec::new, <[f32]>::to_vec) })
    }

    fn quantised(&self, stack: &Stack<'_>, format: Format) -> Result<QuantMatrix, LoadError> {
        let Packing { source, pool, .. } = *self;
        let (inputs, outputs) = (stack.inputs(), stack.outputs());
        let parts = stack.parts().iter();
        let parts: Option<Vec<_>> = parts
            .map(|(tensor, outputs)| {
                let rows = source.block_rows(tensor, format)?;
                rows(0).is_some().then_some((rows, *outputs))
            })
            .collect();
        let failed = OnceLock::new();
        let packed = if let Some(parts) = parts {
            let row = |o| row_of(&parts, o).unwrap_or_default();
            QuantMatrix::from_block_rows(pool, format, outputs, inputs, row)
        } else {
            QuantMatrix::from_rows(pool, format, outputs, inputs, |o, out| {
                if let Err(error) = stack.rows(o, out) {
                    // One error is enough; any of several will do.
                    let _ = failed.set(error);
                    out.fill(0.0);
                }
            })
        };
        match failed.into_inner() {
            Some(error) => Err(error),
            None => packed.map_err(|error| {
                let tensor = stack.parts().first().map_or("", |part| &part.0);
                LoadError::Pack {
                    path: source.path(tensor).to_owned(),
                    tensor: tensor.to_owned(),
                    message: error.to_string(),
                }
            }),
        }
    }
}

/// A row of a stack, from the rows of its parts and their numbers.
fn row_of<'a>(parts: &[(BlockRows<'a>, usize)], mut row: usize) -> Option<Cow<'a, [u8]>> {
    for (rows, outputs) in parts {
        if row < *outputs {
            return rows(row);
        }
        row -= outputs;
    }
    None
}
