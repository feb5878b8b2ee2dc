//! The folder that keeps quantised weights between runs.

use std::ffi::OsString;
use std::path::PathBuf;

/// The environment variable that names the folder for quantised weights.
const CACHE: &str = "TOKENROUTE_CACHE";

/// The folder for quantised weights: `TOKENROUTE_CACHE`, else `tokenroute` in the user's
/// cache (`XDG_CACHE_HOME` or `~/.cache`). `None`, which keeps nothing, if the variable is
/// set and empty or if there is no home directory.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    folder(|variable| std::env::var_os(variable))
}

fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
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
            folder(set).map(|path| path.display().to_string())
        };
        let (own, user, home) = ((CACHE, "/o"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h"));
        assert_eq!(found(&[own, user, home]).as_deref(), Some("/o"));
        assert_eq!(found(&[user, home]).as_deref(), Some("/x/tokenroute"));
        assert_eq!(found(&[home]).as_deref(), Some("/h/.cache/tokenroute"));
        assert_eq!(found(&[(CACHE, ""), home]), None);
        assert_eq!(found(&[]), None);
    }
}
