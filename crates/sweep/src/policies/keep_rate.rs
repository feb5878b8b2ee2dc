//! Weighted mean targets, as the lookup tables learn them from labels.

use tokenroute_core::LabelRow;

/// Weight of the general rate in a specific one, in observations.
const SMOOTHING: f64 = 4.0;

/// A weighted mean of targets.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeepRate {
    keep: f64,
    weight: f64,
}

impl KeepRate {
    pub(super) fn add(&mut self, row: &LabelRow) {
        self.keep += f64::from(row.target) * f64::from(row.weight);
        self.weight += f64::from(row.weight);
    }

    /// The mean, with [`SMOOTHING`] further observations of `general`.
    pub(super) fn towards(&self, general: f64) -> f64 {
        (self.keep + SMOOTHING * general) / (self.weight + SMOOTHING)
    }
}
