//! A GGUF file as a model to load: weights, configuration, tokenizer and end tokens.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value as Json;
use tokenroute_core::TokenId;
use tokenroute_kernels::Format;

use super::bpe_lists::ListedTokenizer;
use super::names::to_gguf;
use super::tokenizer::{ENDS, TOKENS};
use super::{Gguf, GgufError, Tensor, Weight};
use crate::weights::{BlockRows, MappedFile, WeightSource};
use crate::{Config, LoadError};

/// Whether a path names a GGUF file, by its extension.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// A GGUF file whose tensors are all recognised.
#[derive(Debug)]
pub(crate) struct GgufSource {
    path: PathBuf,
    file: Gguf,
    /// Tensors by Hugging Face name, so that a row costs one look-up.
    places: HashMap<String, Place>,
}

#[derive(Debug)]
struct Place {
    tensor: Tensor,
    /// Number of heads, if their halves are interleaved.
    heads: Option<usize>,
    /// Whether the decoder has asked for the tensor.
    used: AtomicBool,
}

impl GgufSource {
    /// Opens a file and looks up its tensors.
    ///
    /// # Errors
    /// A damaged file, a missing part, an unsupported architecture, an unknown tensor.
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let (file, places) = Gguf::open(path)
            .and_then(|file| {
                let places = places(&file)?;
                Ok((file, places))
            })
            .map_err(|error| named(path, error))?;
        Ok(GgufSource { path: path.to_owned(), file, places })
    }

    /// The file.
    pub(super) fn file(&self) -> &Gguf {
        &self.file
    }

    /// Bytes of all tensors.
    pub(crate) fn bytes(&self) -> usize {
        self.file.tensors().map(|(_, tensor)| self.file.bytes(tensor).len()).sum()
    }

    /// Shapes of all tensors.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = &[usize]> {
        self.file.tensors().map(|(_, tensor)| tensor.shape.as_slice())
    }

    /// The model's configuration.
    ///
    /// # Errors
    /// Metadata that is missing or not supported.
    pub(crate) fn config(&self) -> Result<Config, LoadError> {
        let json = self.file.config().map_err(|error| self.named(error))?;
        Config::parse(&self.path, &json)
    }

    /// The file's tokenizer, as [`Gguf::tokenizer`] has it.
    ///
    /// # Errors
    /// A tokenizer that is damaged or of an unsupported kind.
    pub(crate) fn tokenizer(&self) -> Result<ListedTokenizer<'_>, LoadError> {
        self.file.listed_tokenizer().map_err(|error| self.named(error))
    }

    /// The error for an added token whose id another token has, as `tokenizers` numbers them.
    pub(crate) fn misnumbered(&self, content: &str, id: &Json) -> LoadError {
        let value = format!("{content:?} as {id}");
        let expected = "added tokens without gaps after the others; put the model's tokenizer.json beside the file";
        self.named(GgufError::value(TOKENS, value, expected))
    }

    /// Tokens that end an answer.
    ///
    /// # Errors
    /// No such token, or one that is not a token id.
    pub(crate) fn end_tokens(&self) -> Result<Vec<TokenId>, LoadError> {
        let ends = self.file.end_tokens();
        let ids: Option<Vec<TokenId>> =
            ends.iter().map(|&end| TokenId::try_from(end).ok()).collect();
        ids.filter(|ids| !ids.is_empty()).ok_or_else(|| {
            self.named(GgufError::missing(ENDS[0], "the id of the token that ends an answer"))
        })
    }

    /// Checks that the decoder has asked for every tensor of the file. A tensor left out
    /// would change the model's results.
    ///
    /// # Errors
    /// Names the first tensor left out.
    pub(crate) fn check_all_used(&self) -> Result<(), LoadError> {
        let unused = self.places.iter().filter(|(_, place)| !place.used.load(Ordering::Relaxed));
        let Some(first) = unused.map(|(name, _)| name).min() else { return Ok(()) };
        let name = to_gguf(first).unwrap_or_else(|| first.clone());
        let expected = "only tensors that the architecture has";
        Err(self.named(GgufError::value("tensor", name, expected)))
    }

    fn weight(&self, tensor: &str) -> Option<Weight<'_>> {
        let place = self.places.get(tensor)?;
        Some(self.file.placed(&place.tensor, place.heads))
    }

    /// Counts bytes that have been read or are read next.
    fn done(&self, bytes: usize) {
        self.file.mapped().for_each(|file| file.done(bytes));
    }

    fn missing(&self, tensor: &str, shape: &[usize]) -> LoadError {
        LoadError::MissingTensor {
            path: self.path.clone(),
            tensor: tensor.to_owned(),
            shape: shape.to_vec(),
        }
    }

    fn named(&self, error: GgufError) -> LoadError {
        named(&self.path, error)
    }
}

/// The places of all tensors, in a model of a known architecture.
fn places(file: &Gguf) -> Result<HashMap<String, Place>, GgufError> {
    file.architecture()?;
    let mut places = HashMap::new();
    for name in file.weight_names()? {
        if let Some(tensor) = to_gguf(&name).and_then(|name| file.tensor(&name)) {
            let heads = file.interleaved_heads(&name, tensor)?;
            let place = Place { tensor: tensor.clone(), heads, used: AtomicBool::new(false) };
            places.insert(name, place);
        }
    }
    Ok(places)
}

/// Adds the file's path to an error.
fn named(path: &Path, error: GgufError) -> LoadError {
    match error {
        // A part may be missing, so its own path counts.
        GgufError::Read { path, source } => {
            LoadError::Read { path, expected: "a GGUF file", source }
        }
        source => LoadError::Gguf { path: path.to_owned(), source },
    }
}

impl WeightSource for GgufSource {
    fn check(&self, tensor: &str, shape: &[usize]) -> Result<(), LoadError> {
        let place = self.places.get(tensor).ok_or_else(|| self.missing(tensor, shape))?;
        if place.tensor.shape != shape {
            return Err(LoadError::Shape {
                path: self.path.clone(),
                tensor: tensor.to_owned(),
                found: place.tensor.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        place.used.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn rows(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        out: &mut [f32],
    ) -> Result<(), LoadError> {
        let end = row + out.len() / width.max(1);
        let weight = self.weight(tensor).filter(|w| w.columns() == width && end <= w.rows());
        let weight = weight.ok_or_else(|| self.missing(tensor, &[end, width]))?;
        for (row, out) in (row..).zip(out.chunks_exact_mut(width)) {
            weight.dequantise_row(row, out);
        }
        self.done(weight.row_size() * (end - row));
        Ok(())
    }

    fn check_finite(
        &self,
        tensor: &str,
        row: usize,
        width: usize,
        rows: usize,
    ) -> Result<(), LoadError> {
        let weight = self.weight(tensor).filter(|w| w.columns() == width && row + rows <= w.rows());
        let sound = weight.is_some_and(|weight| {
            self.done(weight.row_size() * rows);
            (row..row + rows).all(|row| weight.kind().has_finite_scales(weight.row_bytes(row)))
        });
        if sound {
            return Ok(());
        }
        self.finite_rows(tensor, row, width, &mut vec![0.0; rows * width])
    }

    fn format(&self, tensor: &str) -> Option<Format> {
        self.places.get(tensor)?.tensor.kind.held_in()
    }

    fn block_rows(&self, tensor: &str, format: Format) -> Option<BlockRows<'_>> {
        let weight = self.weight(tensor).filter(|weight| weight.shape().len() > 1)?;
        let (kind, rows, size) = (weight.kind(), weight.rows(), weight.row_size());
        Some(Box::new(move |row| {
            if row >= rows {
                return None;
            }
            self.done(size);
            kind.packed(weight.row_bytes(row), format)
        }))
    }

    fn give_back(&self) {
        self.file.mapped().for_each(MappedFile::give_back);
    }

    fn path(&self, _: &str) -> &Path {
        &self.path
    }
}
