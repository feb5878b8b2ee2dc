//! How long work reports itself, without knowing where the words go.

/// A listener to long work.
pub trait Progress: Sync {
    /// A phase begins that has `total` units of `unit`.
    fn begin(&self, phase: &str, total: u64, unit: &str);
    /// So many more units are done.
    fn advance(&self, units: u64);
    /// A line worth keeping.
    fn note(&self, line: &str);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: u64, _: &str) {}
    fn advance(&self, _: u64) {}
    fn note(&self, _: &str) {}
}
