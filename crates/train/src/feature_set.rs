//! What a router reads, as experiment files name it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokenroute_core::{FeatureConfig, FeatureSpec};

/// What a router reads of a step, and of the steps before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum FeatureSet {
    /// The top log-probabilities, the margin and the entropy.
    Probabilities,
    /// The hidden state.
    Hidden,
    /// Both.
    Both,
    /// A list, which may have further features.
    Listed(FeatureList),
}

/// A list of features.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeatureList {
    /// Whether it has the hidden state.
    pub hidden: bool,
    /// Whether it has the top log-probabilities, the margin and the entropy.
    pub probabilities: bool,
    /// The others, in their order.
    pub more: Vec<FeatureConfig>,
}

impl FeatureSet {
    /// The name in experiment files; of a list, its names.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            FeatureSet::Probabilities => "probabilities".to_owned(),
            FeatureSet::Hidden => "hidden".to_owned(),
            FeatureSet::Both => "both".to_owned(),
            FeatureSet::Listed(list) => Value::Array(list.names()).to_string(),
        }
    }

    /// Whether it has the top log-probabilities, the margin and the entropy.
    #[must_use]
    pub fn has_probabilities(&self) -> bool {
        match self {
            FeatureSet::Probabilities | FeatureSet::Both => true,
            FeatureSet::Hidden => false,
            FeatureSet::Listed(list) => list.probabilities,
        }
    }

    /// The features beyond hidden state and probabilities.
    #[must_use]
    pub fn more(&self) -> &[FeatureConfig] {
        match self {
            FeatureSet::Listed(list) => &list.more,
            _ => &[],
        }
    }

    /// The features of this set.
    #[must_use]
    pub fn spec(&self, hidden: usize, top_k: usize) -> FeatureSpec {
        let reads_hidden = match self {
            FeatureSet::Hidden | FeatureSet::Both => true,
            FeatureSet::Probabilities => false,
            FeatureSet::Listed(list) => list.hidden,
        };
        let spec = FeatureSpec {
            hidden: if reads_hidden { hidden } else { 0 },
            top_k: if self.has_probabilities() { top_k } else { 0 },
            ..FeatureSpec::default()
        };
        spec.with(self.more(), hidden)
    }
}

impl FeatureList {
    fn names(&self) -> Vec<Value> {
        let named = [("hidden", self.hidden), ("probabilities", self.probabilities)];
        let named = named.into_iter().filter(|(_, there)| *there).map(|(name, _)| name.into());
        named.chain(self.more.iter().map(|one| Map::from(one.clone()).into())).collect()
    }

    fn add(&mut self, value: Value) -> Result<(), String> {
        let set = |there: &mut bool, name: &str| match std::mem::replace(there, true) {
            true => Err(format!("features: `{name}` is named twice")),
            false => Ok(()),
        };
        let config = match value {
            Value::String(name) if name == "hidden" => return set(&mut self.hidden, &name),
            Value::String(name) if name == "probabilities" => {
                return set(&mut self.probabilities, &name);
            }
            Value::String(name) => FeatureConfig::named(&name)?,
            Value::Object(table) => FeatureConfig::try_from(table)?,
            other => {
                let expected = "expected a name such as `hidden` or a table with `kind`";
                return Err(format!("features: {other}: {expected}"));
            }
        };
        if self.more.contains(&config) {
            return Err(format!("features: {} is named twice", Value::from(Map::from(config))));
        }
        self.more.push(config);
        Ok(())
    }
}

impl TryFrom<Value> for FeatureSet {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let expected = "expected `probabilities`, `hidden`, `both` or a list";
        match value {
            Value::String(name) => match name.as_str() {
                "probabilities" => Ok(FeatureSet::Probabilities),
                "hidden" => Ok(FeatureSet::Hidden),
                "both" => Ok(FeatureSet::Both),
                _ => Err(format!("features `{name}`: {expected}")),
            },
            Value::Array(values) if !values.is_empty() => {
                let mut list = FeatureList::default();
                values.into_iter().try_for_each(|value| list.add(value))?;
                Ok(match (list.hidden, list.probabilities, list.more.is_empty()) {
                    (true, true, true) => FeatureSet::Both,
                    (true, false, true) => FeatureSet::Hidden,
                    (false, true, true) => FeatureSet::Probabilities,
                    _ => FeatureSet::Listed(list),
                })
            }
            other => Err(format!("features {other}: {expected}")),
        }
    }
}

impl From<FeatureSet> for Value {
    fn from(set: FeatureSet) -> Self {
        match set {
            FeatureSet::Listed(list) => list.names().into(),
            set => set.name().into(),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for FeatureSet {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FeatureSet".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let kinds = FeatureConfig::json_schema(generator).to_value();
        let mut items = kinds["oneOf"].as_array().cloned().unwrap_or_default();
        let names = serde_json::json!(["hidden", "probabilities", "position"]);
        items.insert(0, serde_json::json!({ "type": "string", "enum": names }));
        schemars::json_schema!({ "anyOf": [
            { "type": "string", "enum": ["probabilities", "hidden", "both"] },
            { "type": "array", "items": { "oneOf": items } },
        ] })
    }
}
