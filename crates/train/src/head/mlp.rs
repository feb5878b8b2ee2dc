//! Linear layers with an activation and dropout between them.

use serde::Deserialize;
use tokenroute_core::{Activation, Architecture};

use super::{Head, check_rewards, check_widths};
use crate::layer::Layer;

/// Linear layers with an activation between them.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    /// Widths of the hidden layers, first to last.
    widths: Vec<usize>,
    /// Between the layers.
    activation: Activation,
    /// 1 (a logit) or 2 (r_keep, r_offload).
    rewards: usize,
}

impl Head for Mlp {
    fn name(&self) -> String {
        format!("MLP (widths {:?})", self.widths)
    }

    fn layers(&self, features: usize) -> Vec<Layer> {
        let mut layers = Vec::new();
        let mut inputs = features;
        for &outputs in &self.widths {
            layers.push(Layer::Linear { inputs, outputs });
            layers.push(Layer::Activation(self.activation));
            layers.push(Layer::Dropout);
            inputs = outputs;
        }
        layers.push(Layer::Linear { inputs, outputs: self.rewards });
        layers
    }

    fn architecture(&self, _: usize) -> Architecture {
        Architecture::Mlp {
            widths: self.widths.clone(),
            activation: self.activation,
            rewards: self.rewards,
        }
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        check_rewards(self.rewards)?;
        check_widths(&self.widths)
    }
}
