//! One linear layer, features → rewards. It is trained until it converges.

use serde::Deserialize;
use tokenroute_core::Architecture;

use super::{Head, check_rewards};
use crate::layer::Layer;

/// One linear layer, features → rewards.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// 1 (a logit) or 2 (r_keep, r_offload).
    rewards: usize,
}

impl Head for Linear {
    fn name(&self) -> String {
        "linear".to_owned()
    }

    fn layers(&self, features: usize) -> Vec<Layer> {
        vec![Layer::Linear { inputs: features, outputs: self.rewards }]
    }

    fn architecture(&self, _: usize) -> Architecture {
        Architecture::Linear { rewards: self.rewards }
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        check_rewards(self.rewards)
    }
}
