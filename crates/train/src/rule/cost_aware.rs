//! Offload only where it gains more than it costs.

use serde::Deserialize;
use tokenroute_core::LabelRow;

use super::{LabelRule, Target, gain};

/// Grades are f32, so a difference of λ · cost may come out this much greater or less.
const TIE: f64 = 1e-6;

/// A row is divergent iff Q_offload − Q_keep > λ · cost, with cost = 1 + `per_position` · the
/// number of answer tokens before it: an offloaded token is one call, and the LLM reads what came
/// before. The gain of keeping has the saved λ · cost in it. Within 1e-6 of λ · cost it is a tie:
/// the gain is 0, and the row is kept.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CostAware {
    /// λ: the price of an offloaded token, in grades, from 0 up.
    pub lambda: f64,
    /// The price of an answer token that the LLM reads, in offloaded tokens, from 0 up.
    #[serde(default)]
    pub per_position: f64,
}

impl LabelRule for CostAware {
    fn target(&self, row: &LabelRow) -> Target {
        let cost = self.lambda * (1.0 + self.per_position * f64::from(row.position));
        let gain = f64::from(gain(row)) + cost;
        let gain = if gain.abs() <= TIE { 0.0 } else { gain };
        let keep = if gain < 0.0 { 0.0 } else { 1.0 };
        Target { keep, weight: row.weight, gain: gain as f32 }
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        for (field, value) in
            [("rule.lambda", self.lambda), ("rule.per_position", self.per_position)]
        {
            if !(value.is_finite() && value >= 0.0) {
                return Err((field, value.to_string(), "expected a number from 0 up".to_owned()));
            }
        }
        Ok(())
    }
}
