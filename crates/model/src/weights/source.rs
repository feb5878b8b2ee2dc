//! The trait through which a decoder takes its weights, wherever they are stored.

use std::borrow::Cow;
use std::path::Path;

use tokenroute_kernels::Format;

use crate::LoadError;

/// The input embedding, and the LM head where the two are tied.
pub(crate) const EMBEDDING: &str = "model.embed_tokens.weight";
/// The LM head where they are not tied.
pub(crate) const HEAD: &str = "lm_head.weight";

/// Tensors by their Hugging Face names, wherever and however they are stored.
/// What is read are rows as f32, so that a reader never holds more than it asks for.
pub(crate) trait WeightSource: std::fmt::Debug + Send + Sync {
    /// Checks that a tensor is there with exactly this shape and a type that is read.
    fn check(&self, tensor: &str, shape: &[usize]) -> Result<(), LoadError>;

    /// Fills `out` with consecutive elements of a tensor that was checked, in
    /// row-major order, from the start of row `row`; `out` is whole rows of
    /// `width`, the tensor's last dimension. Values may be NaN or infinite.
    fn rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), LoadError>;

    /// The file a tensor is in, for messages.
    fn path(&self, tensor: &str) -> &Path;

    /// The format that holds what a tensor stored in blocks says; `None` if it is
    /// stored as floats.
    fn format(&self, _tensor: &str) -> Option<Format> {
        None
    }

    /// The blocks of row `row` of a tensor that was checked, if it is stored in blocks
    /// whose integers the kernels hold, so that they are packed as they are.
    fn blocks(&self, _tensor: &str, _row: usize) -> Option<(Format, Cow<'_, [u8]>)> {
        None
    }

    /// [`WeightSource::rows`], refusing NaN and infinity.
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
