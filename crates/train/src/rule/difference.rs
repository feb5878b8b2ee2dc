//! Any difference is divergent.

use serde::Deserialize;
use tokenroute_core::{LabelRow, Relation};

use super::{LabelRule, Target};

/// A row is divergent iff the models' tokens differ (R2R's labels without its judge). It reads no
/// grade, so every row counts once, judged or not.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Difference {}

impl LabelRule for Difference {
    fn target(&self, row: &LabelRow) -> Target {
        let keep = if row.relation == Relation::Identical { 1.0 } else { 0.0 };
        Target { keep, weight: 1.0, gain: keep - 1.0 }
    }
}
