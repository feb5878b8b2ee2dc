//! Weights as a quantised model has them where they are not multiplied: the embedding's
//! rows, rounded to 8 bits.

use std::path::Path;

use tokenroute_kernels::{BLOCK, Format};

use super::{EMBEDDING, WeightSource};
use crate::LoadError;

/// A source of floats whose embedding is read as Q8_0 would give it back, so that a model
/// quantised now and one quantised earlier and kept on disk are the same.
#[derive(Debug)]
pub(crate) struct Q8Embedding<S>(pub(crate) S);

impl<S: WeightSource> WeightSource for Q8Embedding<S> {
    fn check(&self, tensor: &str, shape: &[usize]) -> Result<(), LoadError> {
        self.0.check(tensor, shape)
    }

    fn rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), LoadError> {
        self.0.rows(tensor, row, width, out)?;
        // What is not finite is left to be found as it is.
        if tensor == EMBEDDING && out.iter().all(|x| x.is_finite()) {
            let mut blocks = Vec::with_capacity(width.div_ceil(BLOCK) * Format::Q8_0.block_bytes());
            for row in out.chunks_exact_mut(width) {
                blocks.clear();
                Format::Q8_0.quantise(row, &mut blocks);
                Format::Q8_0.dequantise(&blocks, row);
            }
        }
        Ok(())
    }

    fn path(&self, tensor: &str) -> &Path {
        self.0.path(tensor)
    }
}
