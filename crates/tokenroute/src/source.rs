//! Named models: how one is loaded, and what it is called.

use std::path::Path;

use anyhow::Result;
use tokenroute_core::Progress;
use tokenroute_hub::{local, reference};
use tokenroute_model::{Format, LoadOptions, LoadedModel, cache_folder, load_model};

/// The last part of a model's path or reference, without `.gguf`. A folder's links are
/// followed, since it may be ".", and a file's are not, since caches name files by hash.
#[cfg(feature = "server")]
pub fn called(model: &Path) -> String {
    let folder = model.canonicalize().ok().filter(|path| path.is_dir());
    let last = folder.as_deref().unwrap_or(model).file_name().unwrap_or_default();
    let last = last.to_string_lossy();
    let last = last.rsplit(':').next().unwrap_or_default();
    last.strip_suffix(".gguf").unwrap_or(last).to_owned()
}

/// How to load a named model.
pub fn options(named: &Path, top_k: usize, quantize: Option<Format>) -> LoadOptions {
    let (name, cache) = (reference(named).map(str::to_owned), cache_folder());
    LoadOptions { name, top_k, quantize, cache, ..LoadOptions::default() }
}

/// Loads a model from a folder, a GGUF file or an `hf:` reference to one.
pub fn load(
    named: &Path,
    top_k: usize,
    quantize: Option<Format>,
    progress: &dyn Progress,
) -> Result<LoadedModel> {
    Ok(load_model(&local(named, progress)?, &options(named, top_k, quantize))?)
}
