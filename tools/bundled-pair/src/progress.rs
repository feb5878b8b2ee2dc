//! Terminal output: results on standard output, progress and errors on standard error.

use std::io::Write;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

/// Progress of one training run: a bar on a terminal, nothing when piped.
pub struct TrainingBar(ProgressBar);

impl TrainingBar {
    /// Starts a bar of `total` steps.
    pub fn new(name: &str, total: u64) -> Self {
        let template = "{prefix} {wide_bar} {human_pos}/{human_len} {per_sec} eta {eta}";
        let style = ProgressStyle::with_template(template);
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        TrainingBar(ProgressBar::new(total).with_style(style).with_prefix(name.to_owned()))
    }

    /// Adds finished steps.
    pub fn advance(&self, steps: u64) {
        self.0.inc(steps);
    }

    /// Prints a line beside the bar.
    pub fn note(&self, line: &str) {
        self.0.suspend(|| note(line));
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// Prints a line on standard error.
#[expect(clippy::print_stderr, reason = "progress and errors go to standard error")]
pub fn note(line: &str) {
    eprintln!("{line}");
}

/// Prints a line on standard output.
pub fn line(text: &str) -> Result<()> {
    writeln!(std::io::stdout().lock(), "{text}")?;
    Ok(())
}
