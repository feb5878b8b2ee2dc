//! Standard output and error: results go to the one, complaints to the other.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

/// Prints a line of result.
pub fn line(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    Ok(())
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
