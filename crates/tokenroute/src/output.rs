//! Terminal output: results on standard output, warnings and errors on standard error.
//! Output files are written completely or not at all.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

/// Prints a line on standard output.
pub fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
}

/// Prints a part of a line and flushes it.
pub fn part(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}")?;
    Ok(out.flush()?)
}

/// A path without detours, relative to the current folder if it is inside.
#[cfg(feature = "lab")]
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

/// Writes a file under another name first, so that it is written completely or not at all.
pub fn whole_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<()>,
) -> Result<()> {
    let mut name = path.file_name().context("a file name is missing")?.to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let cannot = || format!("cannot write {}", path.display());
    let file = File::create(&partial).with_context(cannot)?;
    let mut file = BufWriter::new(file);
    let written = write(&mut file).and_then(|()| Ok(file.flush()?));
    let moved = written.and_then(|()| fs::rename(&partial, path).with_context(cannot));
    if moved.is_err() {
        // The first error is the one to report, not a failed removal.
        let _ = fs::remove_file(&partial);
    }
    moved
}

/// An error and its causes on one line, without repetitions: our errors quote their causes,
/// contexts do not.
pub fn causes(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
    }
    said
}

/// Prints an error and its causes.
#[expect(clippy::print_stderr, reason = "this is where complaints go")]
pub fn complain(error: &anyhow::Error) {
    eprintln!("error: {}", causes(error));
}

/// Prints a warning on one line.
#[expect(clippy::print_stderr, reason = "this is where complaints go")]
pub fn warn(text: &str) {
    eprintln!("warning: {text}");
}
