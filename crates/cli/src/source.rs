//! Where a named model or file lies on this machine.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tokenroute_core::Progress;
use tokenroute_edge::{LoadOptions, LoadedModel, load_model};
use tokenroute_hub::{PREFIX, Settings, fetch};

/// The local path of an `hf:` reference, fetched if need be; `None` for a path.
pub fn fetched(named: &Path, progress: &dyn Progress) -> Result<Option<PathBuf>> {
    match named.to_str() {
        Some(text) if text.starts_with(PREFIX) => {
            Ok(Some(fetch(&text.parse()?, &Settings::from_env(), progress)?))
        }
        _ => Ok(None),
    }
}

/// As [`fetched`], with a path as it stands.
pub fn local(named: &Path, progress: &dyn Progress) -> Result<PathBuf> {
    Ok(fetched(named, progress)?.unwrap_or_else(|| named.to_owned()))
}

/// A reference's own words as a model's name: where its files lie differs from
/// machine to machine. `None` for a path, which is name enough.
pub fn name(named: &Path) -> Option<String> {
    named.to_str().filter(|text| text.starts_with(PREFIX)).map(str::to_owned)
}

/// Loads a model from a folder or an `hf:` reference.
pub fn load(named: &Path, top_k: usize, progress: &dyn Progress) -> Result<LoadedModel> {
    let options = LoadOptions { name: name(named), top_k, ..LoadOptions::default() };
    Ok(load_model(&local(named, progress)?, &options)?)
}
