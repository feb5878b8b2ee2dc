//! Whether keeping and offloading end alike.

use serde::Deserialize;
use tokenroute_core::LabelRow;

use super::{LabelRule, Target, gain};

/// The target is 1 − |Q_offload − Q_keep|: keep where both ways have the same grade, offload where
/// they have not, whichever is better. So a row where the SLM's token is the better one is
/// divergent too. Two wrong answers have the same grade: the table holds no answers.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Agreement {}

impl LabelRule for Agreement {
    fn target(&self, row: &LabelRow) -> Target {
        let apart = gain(row).abs();
        Target { keep: 1.0 - apart, weight: row.weight, gain: -apart }
    }
}
