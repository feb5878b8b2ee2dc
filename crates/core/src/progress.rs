//! How long-running work reports progress, without knowing where it is shown.

/// Receives the progress of long-running work.
pub trait Progress: Sync {
    /// Starts a phase of `total` units, each called `unit` (such as "questions").
    fn begin(&self, phase: &str, total: u64, unit: &str);
    /// Adds `units` finished units to the current phase.
    fn advance(&self, units: u64);
    /// Shows a line that stays on the screen.
    fn note(&self, line: &str);
    /// The phase under way is over.
    fn finish(&self) {}
}

/// Discards all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
}
