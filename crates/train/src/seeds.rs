//! The seeds of the routers of an experiment.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::TrainError;

/// Seeds that routers are trained with: a count, or a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected a number of seeds, or a list of seeds")]
pub enum Seeds {
    /// This many, counted up from the experiment's seed.
    Count(u32),
    /// These.
    List(Vec<u64>),
}

impl Default for Seeds {
    fn default() -> Self {
        Seeds::Count(1)
    }
}

impl Seeds {
    /// All seeds, first to last, in an experiment with this seed.
    #[must_use]
    pub fn of(&self, first: u64) -> Vec<u64> {
        match self {
            Seeds::Count(count) => (0..u64::from(*count)).map(|i| first.wrapping_add(i)).collect(),
            Seeds::List(seeds) => seeds.clone(),
        }
    }

    /// Checks that there is a seed, and none twice.
    pub(crate) fn check(&self) -> Result<(), TrainError> {
        let bad = |value: String, expected: &str| {
            Err(TrainError::Config { field: "seeds", value, expected: expected.to_owned() })
        };
        match self {
            Seeds::Count(0) => bad("0".to_owned(), "expected at least 1"),
            Seeds::List(seeds) if seeds.is_empty() => bad("[]".to_owned(), "expected a seed"),
            Seeds::List(seeds) if seeds.iter().collect::<BTreeSet<_>>().len() < seeds.len() => {
                bad(format!("{seeds:?}"), "expected each seed once")
            }
            _ => Ok(()),
        }
    }
}
