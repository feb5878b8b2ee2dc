//! Heads: the layers between a router's features and its logit. Each is one type behind
//! [`Head`], named in [`KINDS`].

mod citer;
mod gru;
mod linear;
mod mlp;
mod r2r;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokenroute_core::Architecture;
use tokenroute_core::registry::{self, Kind};

use crate::layer::{Layer, operators};
use crate::{FeatureSet, TrainError};
pub use citer::Citer;
pub use gru::Gru;
pub use linear::Linear;
pub use mlp::Mlp;
pub use r2r::R2r;

/// A head, before it is trained.
pub trait Head: Debug + Send + Sync {
    /// Its name in records and reports.
    fn name(&self) -> String;

    /// The layers from `features` numbers to 1 (a logit) or 2 (r_keep, r_offload).
    fn layers(&self, features: usize) -> Vec<Layer>;

    /// The features that it reads, if that is a part of the head.
    fn features(&self) -> Option<FeatureSet> {
        None
    }

    /// Its shape in the router file.
    fn architecture(&self, features: usize) -> Architecture {
        let operators = operators(&self.layers(features));
        Architecture::Operators { name: self.name(), operators }
    }

    /// Checks its settings.
    ///
    /// # Errors
    /// The setting, its value, and what was expected.
    fn check(&self) -> Result<(), (&'static str, String, String)> {
        Ok(())
    }
}

/// All heads that an experiment file can name. A new one is a line here.
pub(crate) const KINDS: [Kind<dyn Head>; 5] = [
    Kind::of::<Linear>("linear", |settings| {
        Ok(Box::new(serde_json::from_value::<Linear>(settings)?))
    }),
    Kind::of::<Mlp>("mlp", |settings| Ok(Box::new(serde_json::from_value::<Mlp>(settings)?))),
    Kind::of::<Citer>("citer", |settings| Ok(Box::new(serde_json::from_value::<Citer>(settings)?))),
    Kind::of::<Gru>("gru", |settings| Ok(Box::new(serde_json::from_value::<Gru>(settings)?))),
    Kind::of::<R2r>("r2r", |settings| Ok(Box::new(serde_json::from_value::<R2r>(settings)?))),
];

/// A head as an experiment file names it: `{ kind = "mlp", widths = [16], … }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct HeadConfig(Map<String, Value>);

impl TryFrom<Map<String, Value>> for HeadConfig {
    type Error = String;

    fn try_from(table: Map<String, Value>) -> Result<Self, String> {
        match registry::read(&KINDS, &table) {
            Ok(_) => Ok(HeadConfig(table)),
            Err((value, expected)) => Err(format!("head {value}: {expected}")),
        }
    }
}

impl From<HeadConfig> for Map<String, Value> {
    fn from(config: HeadConfig) -> Self {
        config.0
    }
}

impl HeadConfig {
    /// The head.
    ///
    /// # Errors
    /// A kind that is not known, or settings that cannot work.
    pub fn head(&self) -> Result<Box<dyn Head>, TrainError> {
        let refuse = |field, value, expected| TrainError::Config { field, value, expected };
        let head = registry::read(&KINDS, &self.0)
            .map_err(|(value, expected)| refuse("architecture", value, expected))?;
        head.check().map_err(|(field, value, expected)| refuse(field, value, expected))?;
        Ok(head)
    }
}

impl From<Architecture> for HeadConfig {
    fn from(architecture: Architecture) -> Self {
        // An architecture is a JSON object.
        match serde_json::to_value(architecture) {
            Ok(Value::Object(table)) => HeadConfig(table),
            _ => HeadConfig(Map::new()),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for HeadConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Head".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        registry::schema(&KINDS, generator)
    }
}

/// Refuses another number of rewards than 1 or 2.
fn check_rewards(rewards: usize) -> Result<(), (&'static str, String, String)> {
    if (1..=2).contains(&rewards) {
        return Ok(());
    }
    let expected = "expected 1 (a logit) or 2 (r_keep, r_offload)";
    Err(("architecture.rewards", rewards.to_string(), expected.to_owned()))
}

/// Refuses a width of 0.
fn check_widths(widths: &[usize]) -> Result<(), (&'static str, String, String)> {
    if !widths.contains(&0) {
        return Ok(());
    }
    Err(("architecture.widths", format!("{widths:?}"), "expected widths above 0".to_owned()))
}
