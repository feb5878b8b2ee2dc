//! The soft preference that a label table holds.

use serde::Deserialize;
use tokenroute_core::LabelRow;

use super::{LabelRule, Target, gain};

/// CITER's soft preference, 1 − max(0, Q_offload − Q_keep) ([`tokenroute_core::soft_target`]),
/// with the weights of judged rows. The default.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SoftPreference {}

impl LabelRule for SoftPreference {
    fn target(&self, row: &LabelRow) -> Target {
        Target { keep: row.target, weight: row.weight, gain: gain(row) }
    }
}
