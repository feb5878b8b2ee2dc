//! A gated recurrent unit over the steps of an answer, before a linear logit.

use serde::Deserialize;

use super::Head;
use crate::layer::Layer;

/// A recurrent unit over the steps of an answer, before a linear logit. It keeps a state from step to
/// step.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gru {
    /// Numbers of the state.
    width: usize,
}

impl Head for Gru {
    fn name(&self) -> String {
        format!("GRU (width {})", self.width)
    }

    fn layers(&self, features: usize) -> Vec<Layer> {
        vec![
            Layer::Gru { inputs: features, width: self.width },
            Layer::Linear { inputs: self.width, outputs: 1 },
        ]
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        if self.width > 0 {
            return Ok(());
        }
        Err(("architecture.width", "0".to_owned(), "expected a width above 0".to_owned()))
    }
}
