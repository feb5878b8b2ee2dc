//! Finds the local path of a model, router or data file that a user names by a path or a
//! reference.

use std::path::{Path, PathBuf};

use tokenroute_core::Progress;

use crate::{HubError, HubReference, PREFIX, Settings, fetch};

/// The text of an `hf:` reference. `None` for a path.
///
/// The text also serves as the model's name, since its folder differs from machine to
/// machine.
#[must_use]
pub fn reference(named: &Path) -> Option<&str> {
    named.to_str().filter(|text| text.starts_with(PREFIX))
}

/// The local path of an `hf:` reference, fetched if needed with [`Settings::from_env`].
/// `None` for a path.
///
/// # Errors
/// A malformed reference, or a failed fetch.
pub fn fetched(named: &Path, progress: &dyn Progress) -> Result<Option<PathBuf>, HubError> {
    let Some(text) = reference(named) else { return Ok(None) };
    Ok(Some(fetch(&text.parse()?, &Settings::from_env(), progress)?))
}

/// As [`fetched`], but a path is returned unchanged.
///
/// # Errors
/// As [`fetched`].
pub fn local(named: &Path, progress: &dyn Progress) -> Result<PathBuf, HubError> {
    Ok(fetched(named, progress)?.unwrap_or_else(|| named.to_owned()))
}

/// The file name of a router in a folder or a repository.
pub const ROUTER_FILE: &str = "router.safetensors";

/// The local path of a router file that is named by its path, by its folder, or by an `hf:`
/// reference to either. A folder holds [`ROUTER_FILE`].
///
/// # Errors
/// As [`fetched`].
pub fn router(named: &Path, progress: &dyn Progress) -> Result<PathBuf, HubError> {
    let Some(text) = reference(named) else {
        return Ok(if named.is_dir() { named.join(ROUTER_FILE) } else { named.to_owned() });
    };
    let mut reference: HubReference = text.parse()?;
    reference.file.get_or_insert_with(|| ROUTER_FILE.to_owned());
    fetch(&reference, &Settings::from_env(), progress)
}

#[cfg(test)]
mod tests {
    use tokenroute_core::Silent;

    use super::*;

    #[test]
    fn a_path_stays_and_a_bad_reference_is_named() {
        let path = Path::new("models/slm");
        assert_eq!(reference(path), None);
        assert_eq!(local(path, &Silent).expect("a path"), path);
        let named = Path::new("hf:nobody");
        assert_eq!(reference(named), Some("hf:nobody"));
        let error = local(named, &Silent).expect_err("no owner").to_string();
        assert!(error.contains("hf:nobody") && error.contains("owner/name"), "{error}");
    }
}
