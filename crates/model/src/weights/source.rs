//! The trait through which a decoder takes its weights, wherever they are stored.

use std::borrow::Cow;
use std::path::Path;

use tokenroute_kernels::Format;

use crate::LoadError;

/// The input embedding, and the LM head where the two are tied.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
/// The LM head where they are not tied.
pub(crate) const HEAD: &str = "lm_head.weight";

/// Gives the blocks of a row; `None` if there are none, or no such row.
pub(crate) type BlockRows<'a> = Box<dyn Fn(usize) -> Option<Cow<'a, [u8]>> + Sync + 'a>;

/// Tensors by their Hugging Face names. Rows are read as f32, so that a reader holds no more
/// than it asks for.
pub(crate) trait WeightSource: std::fmt::Debug + Send + Sync {
    /// Checks that a tensor exists with exactly this shape and a supported type.
    fn check(&self, tensor: &str, shape: &[usize]) -> Result<(), LoadError>;

    /// Fills `out` with rows of a checked tensor from row `row` on, in row-major order.
    /// `out` is whole rows of `width`, the tensor's last dimension. Values may be NaN or
    /// infinite.
    fn rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), LoadError>;

    /// The file that holds a tensor, for messages.
    fn path(&self, tensor: &str) -> &Path;

    /// The kernels' format for a tensor that is stored in blocks; `None` if it is stored as
    /// floats.
    fn format(&self, _tensor: &str) -> Option<Format> {
        None
    }

    /// The rows of a checked tensor, if it is stored in blocks whose values `format` has too.
    fn block_rows(&self, _tensor: &str, _format: Format) -> Option<BlockRows<'_>> {
        None
    }

    /// Gives back the memory of what has been read, which may be read again.
    fn give_back(&self) {}

    /// Checks that rows from `row` on hold neither NaN nor infinity.
    fn check_finite(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        rows: usize,
    ) -> Result<(), LoadError> {
        self.finite_rows(tensor, row, width, &mut vec![0.0; rows * width])
    }

    /// [`WeightSource::rows`] that refuses NaN and infinity.
    fn finite_rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), LoadError> {
        self.rows(tensor, row, width, out)?;
        if out.iter().fold(true, |sound, x| sound & x.is_finite()) {
            return Ok(());
        }
        let odd = out.iter().position(|x| !x.is_finite()).unwrap_or(0);
        Err(LoadError::NotFinite {
            path: self.path(tensor).to_owned(),
            tensor: tensor.to_owned(),
            index: row * width + odd,
            value: out[odd],
        })
    }

    /// A whole tensor of exactly this shape, finite, flattened in row-major order.
    fn tensor(&self, tensor: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        self.check(tensor, shape)?;
        let mut values = vec![0.0; shape.iter().product()];
        self.finite_rows(tensor, 0, shape.last().copied().unwrap_or(1), &mut values)?;
        Ok(values)
    }
}
