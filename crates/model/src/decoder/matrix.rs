//! The matrices of a decoder, f32 or quantised, behind one product.

use tokenroute_kernels::{Activations, Format, KernelError, Pool, QuantMatrix};

use super::Linear;

/// A linear layer, y = W·x + b, its weights in f32 or quantised.
#[derive(Debug)]
pub(crate) enum Matrix {
    /// f32 weights and activations.
    Plain(Linear),
    /// Quantised weights. Activations are quantised to 8 bits before the product.
    Quantised {
        weights: QuantMatrix,
        /// `[outputs]`, or empty.
        bias: Vec<f32>,
    },
}

impl Matrix {
    /// Number of outputs.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Matrix::Plain(linear) => linear.outputs(),
            Matrix::Quantised { weights, .. } => weights.outputs(),
        }
    }

    /// Bytes of weights that the product of one row reads.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Matrix::Plain(linear) => linear.inputs() * linear.outputs() * size_of::<f32>(),
            Matrix::Quantised { weights, .. } => weights.bytes(),
        }
    }

    /// The format of the weights; `None` is f32.
    pub(crate) fn format(&self) -> Option<Format> {
        match self {
            Matrix::Plain(_) => None,
            Matrix::Quantised { weights, .. } => Some(weights.format()),
        }
    }

    /// Applies the layer to every row: `x` `[rows, inputs]` → `y` `[rows, outputs]`,
    /// both lengths checked by the caller. `buffer` holds the quantised activations.
    pub(crate) fn apply(
        &self,
        pool: &Pool,
        buffer: &mut Activations,
        x: &[f32],
        y: &mut [f32],
    ) -> Result<(), KernelError> {
        match self {
            Matrix::Plain(linear) => linear.apply(x, y),
            Matrix::Quantised { weights, bias } => {
                buffer.quantise(pool, x, weights.inputs())?;
                weights.matmul(pool, buffer, y)?;
                if !bias.is_empty() {
                    for y in y.chunks_exact_mut(bias.len()) {
                        y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                    }
                }
            }
        }
        Ok(())
    }
}
