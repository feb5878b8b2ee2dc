//! Where a named model or file lies on this machine, and how it is loaded.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Result;
use tokenroute_core::Progress;
use tokenroute_hub::{PREFIX, Settings, fetch};
use tokenroute_model::{Format, LoadOptions, LoadedModel, load_model};

/// The environment variable that names the folder for quantised weights.
const CACHE: &str = "TOKENROUTE_CACHE";

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
    let cache = cache(|variable| std::env::var_os(variable));
    LoadOptions { name: name(named), top_k, quantize, cache, ..LoadOptions::default() }
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

/// Where quantised weights are kept: `TOKENROUTE_CACHE`, which may be empty to keep none,
/// or the user's cache.
fn cache(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let given = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if variable(CACHE).is_some() {
        return given(CACHE);
    }
    let home = || given("HOME").or_else(|| given("USERPROFILE"));
    let caches = given("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")));
    caches.map(|folder| folder.join("tokenroute"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let found = |variables: &[(&str, &str)]| {
            let set = |name: &str| variables.iter().find(|v| v.0 == name).map(|v| v.1.into());
            cache(set).map(|path| path.display().to_string())
        };
        let (own, user, home) = ((CACHE, "/o"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h"));
        assert_eq!(found(&[own, user, home]).as_deref(), Some("/o"));
        assert_eq!(found(&[user, home]).as_deref(), Some("/x/tokenroute"));
        assert_eq!(found(&[home]).as_deref(), Some("/h/.cache/tokenroute"));
        assert_eq!(found(&[(CACHE, ""), home]), None);
        assert_eq!(found(&[]), None);
    }
}
