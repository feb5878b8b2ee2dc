//! A head after CITER's published router (arXiv 2502.01976): hidden state alone, batch norm and
//! dropout after each hidden layer, one logit. CITER's published code has the widths 2 · hidden and
//! hidden, and neither norm nor activation after the last of them.

use serde::Deserialize;
use tokenroute_core::Activation;

use super::{Head, check_widths};
use crate::FeatureSet;
use crate::layer::Layer;

/// CITER's: batch norm and dropout, one logit, the hidden state alone.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Citer {
    /// Widths of the hidden layers, first to last. Without them 512 and 128, which are ours.
    #[serde(default = "widths")]
    widths: Vec<usize>,
}

fn widths() -> Vec<usize> {
    vec![512, 128]
}

impl Head for Citer {
    fn name(&self) -> String {
        format!("CITER's head (widths {:?})", self.widths)
    }

    fn layers(&self, features: usize) -> Vec<Layer> {
        let mut layers = Vec::new();
        let mut inputs = features;
        for &outputs in &self.widths {
            layers.push(Layer::Linear { inputs, outputs });
            layers.push(Layer::BatchNorm { width: outputs });
            layers.push(Layer::Activation(Activation::Relu));
            layers.push(Layer::Dropout);
            inputs = outputs;
        }
        layers.push(Layer::Linear { inputs, outputs: 1 });
        layers
    }

    fn features(&self) -> Option<FeatureSet> {
        Some(FeatureSet::Hidden)
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        check_widths(&self.widths)
    }
}
