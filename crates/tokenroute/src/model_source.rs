//! Models by their names: a folder, a GGUF file or an `hf:` reference.

use std::path::Path;

use tokenroute_core::Progress;
use tokenroute_hub::{local, reference};
use tokenroute_model::{
    Decoder, FileHashes, Format, LoadError, LoadOptions, LoadedModel, Sha256Of, cache_folder,
    load_decoder_hashed, load_model_hashed,
};

use crate::Error;

/// How a named model is loaded: an `hf:` reference names the model, and quantised weights
/// are kept in the user's cache ([`cache_folder`]).
#[must_use]
pub fn load_options(named: &Path, top_k: usize, quantize: Option<Format>) -> LoadOptions {
    let (name, cache) = (reference(named).map(str::to_owned), cache_folder());
    LoadOptions { name, top_k, quantize, cache, ..LoadOptions::default() }
}

/// Loads a model from a folder in Hugging Face layout, a GGUF file, or an `hf:` reference
/// to one, which is fetched if need be.
///
/// # Errors
/// A fetch that fails; a file that is missing or damaged; a model that is not supported.
pub fn load_named(
    named: &Path,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<LoadedModel, Error> {
    Ok(load_found(&local(named, progress)?, options)?)
}

/// Loads only the decoder of a named model ([`load_named`]).
///
/// # Errors
/// As [`load_named`].
pub fn load_named_decoder(
    named: &Path,
    options: &LoadOptions,
    progress: &dyn Progress,
) -> Result<Decoder, Error> {
    let path = local(named, progress)?;
    Ok(with_hashes(|sha256| load_decoder_hashed(&path, options, sha256))?)
}

/// Loads a model from its path. Hashes of its files are remembered in the user's cache.
pub(crate) fn load_found(path: &Path, options: &LoadOptions) -> Result<LoadedModel, LoadError> {
    with_hashes(|sha256| load_model_hashed(path, options, sha256))
}

/// Runs `load` with hashes of files that the user's cache remembers by path, size and times.
fn with_hashes<T>(load: impl FnOnce(Sha256Of<'_>) -> T) -> T {
    // Without a folder to write to, nothing is remembered.
    let folder = cache_folder().filter(|folder| std::fs::create_dir_all(folder).is_ok());
    let hashes = folder.map_or_else(FileHashes::default, |folder| {
        FileHashes::open(&folder.join("file-hashes.json"))
    });
    load(&|file| hashes.sha256(file))
}

/// The last part of a model's path or reference, without `.gguf`. Links of folders are
/// followed, since a folder may be ".". Links of files are not, since caches name files by
/// their hash.
#[must_use]
pub fn short_name(named: &Path) -> String {
    let folder = named.canonicalize().ok().filter(|path| path.is_dir());
    let last = folder.as_deref().unwrap_or(named).file_name().unwrap_or_default();
    let last = last.to_string_lossy();
    let last = last.rsplit(':').next().unwrap_or_default();
    last.strip_suffix(".gguf").unwrap_or(last).to_owned()
}
