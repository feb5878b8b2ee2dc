//! Label rules: how a row of a label table becomes what a head is trained on. Each is one type
//! behind [`LabelRule`], named in [`KINDS`].
//!
//! A table holds tokens, grades and weights. A rule reads them, so that one table serves all rules.

mod agreement;
mod cost_aware;
mod difference;
mod preference;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokenroute_core::LabelRow;
use tokenroute_core::registry::{self, Kind};

use crate::TrainError;
pub use agreement::Agreement;
pub use cost_aware::CostAware;
pub use difference::Difference;
pub use preference::SoftPreference;

/// What a loss reads of a row's label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// Preference for keep, in [0, 1].
    pub keep: f32,
    /// Weight, at least 0. A row of weight 0 is left out.
    pub weight: f32,
    /// What keeping gains over offloading. Below 0 offloading is better.
    pub gain: f32,
}

impl Target {
    /// Whether the rule keeps the SLM's token: soft targets are rounded.
    #[must_use]
    pub fn keeps(&self) -> bool {
        keeps(self.keep)
    }
}

/// [`Target::keeps`] of a preference.
pub(crate) fn keeps(preference: f32) -> bool {
    preference >= 0.5
}

/// A rule.
pub trait LabelRule: Debug + Send + Sync {
    /// The target of a row.
    fn target(&self, row: &LabelRow) -> Target;

    /// Checks its settings.
    ///
    /// # Errors
    /// The setting, its value, and what was expected.
    fn check(&self) -> Result<(), (&'static str, String, String)> {
        Ok(())
    }
}

/// Q_keep − Q_offload, the difference of a row's mean grades; 0 where both tokens are the same.
/// Without grades it is the row's target less 1: the grade of keeping where offloading is right.
#[must_use]
pub fn gain(row: &LabelRow) -> f32 {
    let gain = row.keep_grade - row.offload_grade;
    if gain.is_nan() { row.target - 1.0 } else { gain }
}

/// All rules that an experiment file can name. A new one is a line here.
pub(crate) const KINDS: [Kind<dyn LabelRule>; 4] = [
    Kind::of::<SoftPreference>("preference", |settings| {
        Ok(Box::new(serde_json::from_value::<SoftPreference>(settings)?))
    }),
    Kind::of::<CostAware>("cost-aware", |settings| {
        Ok(Box::new(serde_json::from_value::<CostAware>(settings)?))
    }),
    Kind::of::<Difference>("difference", |settings| {
        Ok(Box::new(serde_json::from_value::<Difference>(settings)?))
    }),
    Kind::of::<Agreement>("agreement", |settings| {
        Ok(Box::new(serde_json::from_value::<Agreement>(settings)?))
    }),
];

/// A rule as an experiment file names it: `{ kind = "cost-aware", lambda = 0.2 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct RuleConfig(Map<String, Value>);

impl TryFrom<Map<String, Value>> for RuleConfig {
    type Error = String;

    fn try_from(table: Map<String, Value>) -> Result<Self, String> {
        match registry::read(&KINDS, &table) {
            Ok(_) => Ok(RuleConfig(table)),
            Err((value, expected)) => Err(format!("rule {value}: {expected}")),
        }
    }
}

impl From<RuleConfig> for Map<String, Value> {
    fn from(config: RuleConfig) -> Self {
        config.0
    }
}

impl RuleConfig {
    /// The rule.
    ///
    /// # Errors
    /// A kind that is not known, or settings that cannot work.
    pub fn rule(&self) -> Result<Box<dyn LabelRule>, TrainError> {
        let refuse = |field, value, expected| TrainError::Config { field, value, expected };
        let rule = registry::read(&KINDS, &self.0)
            .map_err(|(value, expected)| refuse("rule", value, expected))?;
        rule.check().map_err(|(field, value, expected)| refuse(field, value, expected))?;
        Ok(rule)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for RuleConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LabelRule".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        registry::schema(&KINDS, generator)
    }
}

#[cfg(test)]
mod tests;
