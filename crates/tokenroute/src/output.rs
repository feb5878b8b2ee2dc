//! Terminal output: results on standard output, warnings and errors on standard error.
//! Output files are written completely or not at all.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tempfile::NamedTempFile;

/// The text with U+FFFD for control characters, line breaks and tabs excepted. A file, a server
/// or a model may say anything, and a terminal obeys escape sequences.
pub fn harmless(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Prints a line on standard output: as it is for files and programs, [`harmless`] on a terminal.
pub fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.is_terminal() {
        true => writeln!(out, "{}", harmless(text))?,
        false => writeln!(out, "{text}")?,
    }
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

/// Writes a file under another name first, so that it is written completely or not at all. The
/// other name is new, so a link that waits there is not followed.
pub fn whole_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut NamedTempFile>) -> Result<()>,
) -> Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    path.file_name().context("a file name is missing").with_context(cannot)?;
    let other = path.metadata().is_ok_and(|found| !found.is_file());
    ensure!(!other, "{} is no regular file; name another one", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".partial-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let file = builder.tempfile_in(folder.unwrap_or(Path::new(".")));
    // Dropping it removes the file.
    let mut file = file.with_context(cannot)?;
    let mut buffered = BufWriter::new(&mut file);
    write(&mut buffered)?;
    buffered.flush().with_context(cannot)?;
    drop(buffered);
    file.as_file().sync_all().with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
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
    eprintln!("error: {}", harmless(&causes(error)));
}

/// Prints a warning on one line.
#[expect(clippy::print_stderr, reason = "this is where complaints go")]
pub fn warn(text: &str) {
    eprintln!("warning: {}", harmless(text));
}
