//! Tensors under their Hugging Face names, with rows in Hugging Face's order.

use super::config::FACTORS;
use super::names::{interleaved, permuted, to_gguf, to_hugging_face};
use super::{Gguf, GgufError, Kind, Tensor};

/// A weight of the model: a matrix `[rows, columns]`, or a vector, which is one row.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    tensor: &'a Tensor,
    bytes: &'a [u8],
    /// Number of heads, if their halves are interleaved.
    heads: Option<usize>,
}

impl Gguf {
    /// The weight with a Hugging Face name. `None` if the file has no such tensor: an LM
    /// head tied to the embedding, or a bias that the architecture lacks.
    ///
    /// # Errors
    /// A permuted tensor whose rows are not pairs in every head; missing metadata.
    pub fn weight(&self, name: &str) -> Result<Option<Weight<'_>>, GgufError> {
        let Some(tensor) = to_gguf(name).and_then(|name| self.tensor(&name)) else {
            return Ok(None);
        };
        let heads = self.interleaved_heads(name, tensor)?;
        Ok(Some(self.placed(tensor, heads)))
    }

    /// The number of heads in which a tensor's rows are interleaved; `None` if the rows are
    /// in order.
    pub(super) fn interleaved_heads(
        &self,
        name: &str,
        tensor: &Tensor,
    ) -> Result<Option<usize>, GgufError> {
        let (heads, kv_heads) = (self.number("attention.head_count")?, self.kv_heads()?);
        let heads = permuted(self.architecture()?, name, heads, kv_heads);
        if let Some(heads) = heads
            && !tensor.shape[0].is_multiple_of(2 * heads)
        {
            let expected = format!("rows in pairs for each of {heads} heads");
            return Err(GgufError::value(name, format!("{} rows", tensor.shape[0]), expected));
        }
        Ok(heads)
    }

    /// A tensor with the result of [`Gguf::interleaved_heads`].
    pub(super) fn placed<'a>(&'a self, tensor: &'a Tensor, heads: Option<usize>) -> Weight<'a> {
        Weight { tensor, bytes: self.bytes(tensor), heads }
    }

    /// Hugging Face names of all weights.
    ///
    /// # Errors
    /// A tensor that no supported architecture has, by name. Leaving it out would change the
    /// model's results. Precomputed rotary factors are part of the configuration instead.
    pub fn weight_names(&self) -> Result<Vec<String>, GgufError> {
        let architecture = self.architecture()?;
        self.tensors()
            .filter(|(name, _)| !FACTORS.contains(name))
            .map(|(name, _)| {
                to_hugging_face(architecture, name).ok_or_else(|| {
                    let expected =
                        "a tensor of Llama, Mistral, Qwen2, Qwen3, SmolLM3, Phi-3 or Gemma 3";
                    GgufError::value("tensor", name, expected)
                })
            })
            .collect()
    }
}

impl<'a> Weight<'a> {
    /// The storage type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.tensor.kind
    }

    /// `[rows, columns]` or `[columns]`.
    #[must_use]
    pub fn shape(&self) -> &'a [usize] {
        &self.tensor.shape
    }

    /// Number of rows: all but the last dimension; a vector is one row.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape().iter().rev().skip(1).product()
    }

    /// Length of a row.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.shape().last().copied().unwrap_or(0)
    }

    /// Bytes of a row.
    pub(super) fn row_size(&self) -> usize {
        self.bytes.len() / self.rows()
    }

    /// A row as stored, in blocks of [`Weight::kind`].
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row_bytes(&self, row: usize) -> &'a [u8] {
        let size = self.row_size();
        let place = match self.heads {
            Some(heads) if self.shape().len() > 1 => interleaved(row, self.rows(), heads),
            _ => row,
        };
        &self.bytes[place * size..][..size]
    }

    /// A row as f32: `out` `[columns]`.
    ///
    /// # Panics
    /// If there is no such row or `out` has another length.
    pub fn dequantise_row(&self, row: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.columns(), "a row of weights");
        self.kind().dequantise(self.row_bytes(row), out);
        if let (Some(heads), 1) = (self.heads, self.shape().len()) {
            let stored = out.to_vec();
            for (i, out) in out.iter_mut().enumerate() {
                *out = stored[interleaved(i, stored.len(), heads)];
            }
        }
    }

    /// All rows as f32.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows() * self.columns()];
        for (row, out) in out.chunks_exact_mut(self.columns()).enumerate() {
            self.dequantise_row(row, out);
        }
        out
    }
}
