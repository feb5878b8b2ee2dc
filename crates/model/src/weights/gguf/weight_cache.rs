//! Keeps a directory's quantised weights in a GGUF file, so that the next load need not
//! quantise. They load with the same bits.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rayon::prelude::*;
use tempfile::NamedTempFile;
use tokenroute_core::stable_hash;
use tokenroute_kernels::{BLOCK, Format};

use super::config::gguf_architecture;
use super::container::{Entries, Part, header, matrix, padding};
use super::names::{permuted, stored_order, to_gguf};
use super::quants::stored_kind;
use super::{Gguf, GgufError, GgufSource, Kind};
use crate::weights::{HEAD, MappedFile, WeightSource};
use crate::{Config, LoadError};

/// The key of the file's identity: the version of this code, the weights' hash, the format.
const IDENTITY: &str = "tokenroute.weights";
const VERSION: u32 = 1;
/// The key of a hash of everything after the header. It is the first entry, so its offset
/// is known.
const CHECKSUM: &str = "tokenroute.checksum";
const CHECKSUM_AT: u64 = (4 + 4 + 8 + 8 + 8 + CHECKSUM.len() + 4 + 8) as u64;
/// Name prefix of files that are being written. Such files are locked.
const PARTIAL: &str = ".partial-";
/// Age from which an unlocked file counts as abandoned.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// Rows quantised at a time.
const SOME: usize = 1024;

/// The file that holds a directory's weights in one format.
#[derive(Debug)]
pub(crate) struct WeightCache<'a> {
    path: PathBuf,
    identity: String,
    architecture: &'static str,
    config: &'a Config,
    weights: &'a dyn WeightSource,
    /// Tensors by llama.cpp's names.
    tensors: BTreeMap<String, CachedTensor>,
}

/// A tensor of the file.
#[derive(Debug)]
struct CachedTensor {
    /// Its Hugging Face name.
    name: String,
    shape: Vec<usize>,
    kind: Kind,
}

impl<'a> WeightCache<'a> {
    /// The file in `folder` for weights with this hash, whether it exists or not. Of
    /// `tensors`, names and shapes, it holds those that a decoder may ask `weights` for.
    ///
    /// # Errors
    /// An architecture without a GGUF name.
    pub(crate) fn new(
        folder: &Path,
        hash: &str,
        format: Format,
        config: &'a Config,
        weights: &'a dyn WeightSource,
        tensors: Vec<(String, Vec<usize>)>,
    ) -> Result<Self, LoadError> {
        let path = folder.join(format!("{hash}-{format}.gguf"));
        let architecture = gguf_architecture(config.family.model_type())
            .map_err(|source| LoadError::Gguf { path: path.clone(), source })?;
        let asked_for = |name: &str, shape: &[usize]| {
            let head = !(config.tie_word_embeddings && name == HEAD);
            head && !shape.contains(&0) && weights.check(name, shape).is_ok()
        };
        let tensors = tensors
            .into_iter()
            .filter(|(name, shape)| asked_for(name, shape))
            .filter_map(|(name, shape)| {
                // Rows that are not whole blocks stay f32; they are padded when packed.
                let whole = shape.last()?.is_multiple_of(BLOCK);
                let kind = if whole { format.into() } else { Kind::F32 };
                let kind = stored_kind(&name, &shape, kind);
                Some((to_gguf(&name)?, CachedTensor { name, shape, kind }))
            })
            .collect();
        let identity = format!("{VERSION} {hash} {format}");
        Ok(WeightCache { path, identity, architecture, config, weights, tensors })
    }

    /// Opens the file. `None` if it does not exist, is damaged or has another identity.
    pub(crate) fn open(&self) -> Option<GgufSource> {
        let source = GgufSource::open(&self.path).ok()?;
        let file = source.file();
        let text = |key: &str| file.get(key)?.as_str();
        let tensors = self.tensors.iter().map(|(name, t)| (name.as_str(), t.kind, &t.shape));
        let sound = text(IDENTITY) == Some(self.identity.as_str())
            && tensors.eq(file.tensors().map(|(name, t)| (name, t.kind, &t.shape)))
            && text(CHECKSUM) == Some(checksum(file).as_str());
        sound.then_some(source)
    }

    /// Writes the file whole or not at all, and replaces an older one.
    ///
    /// # Errors
    /// A folder that cannot be written to, by name; weights that cannot be read.
    pub(crate) fn write(&self) -> Result<(), LoadError> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        std::fs::create_dir_all(folder).map_err(|error| self.unwritten(error))?;
        sweep(folder);
        let mut file = begin(folder).map_err(|error| self.unwritten(error))?;
        let header = self.header().map_err(|error| self.named(error))?;
        file.write_all(&header).map_err(|error| self.unwritten(error))?;
        for tensor in self.tensors.values() {
            self.write_tensor(tensor, &mut file)?;
        }
        let written = Gguf::open(file.path()).map_err(|error| self.named(error))?;
        let sum = checksum(&written);
        drop(written);
        finish(file, &sum, &self.path).map_err(|error| self.unwritten(error))
    }

    fn header(&self) -> Result<Vec<u8>, GgufError> {
        let key = |name: &str| format!("{}.{name}", self.architecture);
        let mut entries = Entries::default();
        entries.text(CHECKSUM, &hexadecimal(0));
        entries.text(IDENTITY, &self.identity);
        entries.text("general.architecture", self.architecture);
        entries.number(&key("attention.head_count"), self.config.num_attention_heads as u32);
        entries.number(&key("attention.head_count_kv"), self.config.num_key_value_heads as u32);
        let parts: Vec<Part<'_>> = self
            .tensors
            .iter()
            .map(|(name, tensor)| Part { name, shape: &tensor.shape, kind: tensor.kind })
            .collect();
        header(&entries, &parts)
    }

    fn write_tensor(&self, tensor: &CachedTensor, out: &mut impl Write) -> Result<(), LoadError> {
        let CachedTensor { name, shape, kind } = tensor;
        let (heads, kv_heads) = (self.config.num_attention_heads, self.config.num_key_value_heads);
        let heads = permuted(self.architecture, name, heads, kv_heads);
        let (rows, columns) = matrix(shape);
        let vector = shape.len() == 1;
        let order = stored_order(name, if vector { columns } else { rows }, heads);
        let order = order.map_err(|error| self.named(error))?;
        let row_bytes = kind.row_bytes(columns).unwrap_or(0);
        let encode = |row: usize, values: &mut Vec<f32>, bytes: &mut Vec<u8>| {
            let stored = if vector { 0 } else { order[row] };
            self.weights.rows(name, stored, columns, values)?;
            if vector && heads.is_some() {
                *values = order.iter().map(|&i| values[i]).collect();
            }
            bytes.clear();
            kind.encode(values, bytes);
            Ok::<(), LoadError>(())
        };
        let mut buffer = Vec::new();
        for first in (0..rows).step_by(SOME) {
            buffer.resize(SOME.min(rows - first) * row_bytes, 0);
            buffer.par_chunks_exact_mut(row_bytes).enumerate().try_for_each_init(
                || (vec![0.0; columns], Vec::new()),
                |(values, bytes), (i, out)| {
                    encode(first + i, values, bytes)?;
                    out.copy_from_slice(bytes);
                    Ok::<(), LoadError>(())
                },
            )?;
            out.write_all(&buffer).map_err(|error| self.unwritten(error))?;
        }
        out.write_all(padding(rows * row_bytes)).map_err(|error| self.unwritten(error))
    }

    fn unwritten(&self, source: io::Error) -> LoadError {
        LoadError::Cache { path: self.path.clone(), source }
    }

    fn named(&self, source: GgufError) -> LoadError {
        LoadError::Gguf { path: self.path.clone(), source }
    }
}

fn checksum(file: &Gguf) -> String {
    let sum = stable_hash(file.after_header());
    file.mapped().for_each(MappedFile::give_back);
    hexadecimal(sum)
}

fn hexadecimal(hash: u64) -> String {
    format!("{hash:016x}")
}

/// Creates and locks a temporary file.
fn begin(folder: &Path) -> io::Result<NamedTempFile> {
    let file = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder)?;
    file.as_file().lock()?;
    Ok(file)
}

/// Removes files that killed processes left in `folder`. Their locks ended with them.
fn sweep(folder: &Path) {
    let given_up = |path: &Path| -> io::Result<bool> {
        let file = File::open(path)?;
        let age = file.metadata()?.modified()?.elapsed();
        Ok(age.is_ok_and(|age| age > GIVEN_UP) && file.try_lock().is_ok())
    };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let partial = entry.file_name().to_string_lossy().starts_with(PARTIAL);
        if partial && given_up(&entry.path()).unwrap_or(false) {
            // A file that cannot be removed only takes space; the next write tries again.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Writes the checksum and renames the file to its final path.
fn finish(mut file: NamedTempFile, checksum: &str, path: &Path) -> io::Result<()> {
    file.seek(SeekFrom::Start(CHECKSUM_AT))?;
    file.write_all(checksum.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
