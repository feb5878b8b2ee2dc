//! Rounds embedding rows through Q8_0, so that fresh and cached quantised models match.

use std::path::Path;

use tokenroute_kernels::{BLOCK, Format};

use super::{EMBEDDING, WeightSource};
use crate::LoadError;

/// A source of floats whose embedding rows are rounded to Q8_0. A cached quantised model
/// stores the embedding in Q8_0; rounding gives a fresh one the same bits.
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
        // Rows that are not finite stay as they are, so that the caller finds the value.
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

    fn give_back(&self) {
        self.0.give_back();
    }
}
