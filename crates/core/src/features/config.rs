//! Features by their names in files: `{ kind = "…", … }`.

use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Feature, KINDS};
use crate::registry::{self, Kind};

/// Features of the program that embeds this crate.
static OWN: RwLock<Vec<Kind<dyn Feature>>> = RwLock::new(Vec::new());

/// Makes a feature known by a name, before files that have it are read. For a program with
/// features of its own.
///
/// # Errors
/// A name that is taken, or that an experiment file has for something else.
pub fn register_feature(kind: Kind<dyn Feature>) -> Result<(), String> {
    let reserved = ["hidden", "probabilities", "both"];
    if kinds().iter().any(|known| known.name == kind.name) || reserved.contains(&kind.name) {
        return Err(format!("a feature `{}` exists; choose another name", kind.name));
    }
    OWN.write().unwrap_or_else(PoisonError::into_inner).push(kind);
    Ok(())
}

fn kinds() -> Vec<Kind<dyn Feature>> {
    let own = OWN.read().unwrap_or_else(PoisonError::into_inner);
    KINDS.iter().chain(own.iter()).copied().collect()
}

/// A feature as a file names it: `{ kind = "mean", of = "entropy", steps = 8 }`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct FeatureConfig {
    table: Map<String, Value>,
    feature: Arc<dyn Feature>,
}

impl FeatureConfig {
    /// The feature.
    #[must_use]
    pub fn feature(&self) -> &Arc<dyn Feature> {
        &self.feature
    }

    /// The feature of a kind that has no settings.
    ///
    /// # Errors
    /// A kind that is not known, or that has settings.
    pub fn named(kind: &str) -> Result<Self, String> {
        Map::from_iter([("kind".to_owned(), kind.into())]).try_into()
    }
}

impl TryFrom<Map<String, Value>> for FeatureConfig {
    type Error = String;

    fn try_from(table: Map<String, Value>) -> Result<Self, String> {
        let feature = registry::read(&kinds(), &table)
            .map_err(|(value, expected)| format!("feature {value}: {expected}"))?;
        feature.check().map_err(|(setting, value, expected)| {
            let kind = table.get("kind").and_then(Value::as_str).unwrap_or_default();
            format!("feature `{kind}`: {setting} = {value}: {expected}")
        })?;
        Ok(FeatureConfig { table, feature: feature.into() })
    }
}

impl From<FeatureConfig> for Map<String, Value> {
    fn from(config: FeatureConfig) -> Self {
        config.table
    }
}

impl PartialEq for FeatureConfig {
    fn eq(&self, other: &Self) -> bool {
        self.table == other.table
    }
}

impl Eq for FeatureConfig {}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for FeatureConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Feature".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        registry::schema(&KINDS, generator)
    }
}
