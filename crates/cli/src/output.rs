//! Standard output and error: results go to the one, complaints to the other.

use std::io::Write;
#[cfg(feature = "train")]
use std::path::Path;

use anyhow::Result;
use serde::Serialize;

/// Prints a line of result.
pub fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}

/// A path as one would type it here: without detours, relative to the current
/// folder where it lies within.
#[cfg(feature = "train")]
pub fn shown(path: &Path) -> String {
    let Ok(full) = path.canonicalize() else { return path.display().to_string() };
    let here = std::env::current_dir().and_then(|p| p.canonicalize());
    let near = here.ok().and_then(|here| full.strip_prefix(here).ok().map(Path::to_owned));
    near.unwrap_or(full).display().to_string()
}

/// Prints a value as one line of JSON.
pub fn json<T: Serialize>(value: &T) -> Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Prints an error and its causes on one line.
#[expect(clippy::print_stderr, reason = "this is where complaints go")]
pub fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

/// Prints a warning on one line.
#[expect(clippy::print_stderr, reason = "this is where complaints go")]
pub fn warn(text: &str) {
    eprintln!("warning: {text}");
}
