//! Models by their names: a folder, a GGUF file or an `hf:` reference.

use std::path::Path;

use tokenroute_core::Progress;
use tokenroute_hub::{local, reference};
use tokenroute_model::{Format, LoadOptions, LoadedModel, cache_folder, load_model};

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
    Ok(load_model(&local(named, progress)?, options)?)
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
