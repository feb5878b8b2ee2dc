//! A head after R2R's published router (arXiv 2505.21600): a projection, residual blocks with a norm
//! before them, and a norm before the logit.
//!
//! R2R's also reads the embedding of the SLM's token, which a label table does not hold, and the 100
//! greatest logits. Here the top log-probabilities stand in for them. R2R projects its logits, all
//! inputs, and the result again; three linear maps in a row are one.

use serde::Deserialize;
use tokenroute_core::Activation;

use super::Head;
use crate::FeatureSet;
use crate::layer::Layer;

/// R2R's, without the token's embedding: pre-norm residual blocks on hidden state and
/// log-probabilities.
#[derive(Debug, Clone, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct R2r {
    /// Width of the blocks. Without it 64, which is ours.
    #[serde(default = "width")]
    width: usize,
    /// Number of blocks, 6 as published.
    #[serde(default = "blocks")]
    blocks: usize,
    /// Width within a block, over that of the block. Without it 4.
    #[serde(default = "expansion")]
    expansion: usize,
}

fn width() -> usize {
    64
}

fn blocks() -> usize {
    6
}

fn expansion() -> usize {
    4
}

impl Head for R2r {
    fn name(&self) -> String {
        format!("R2R's head ({} blocks of width {})", self.blocks, self.width)
    }

    fn layers(&self, features: usize) -> Vec<Layer> {
        let linear = |inputs, outputs| Layer::Linear { inputs, outputs };
        let (width, within) = (self.width, self.width.saturating_mul(self.expansion));
        let mut layers = vec![linear(features, width)];
        for _ in 0..self.blocks {
            layers.push(Layer::Residual(vec![
                Layer::LayerNorm { width },
                linear(width, within),
                Layer::Activation(Activation::Gelu),
                Layer::Dropout,
                linear(within, width),
            ]));
        }
        layers.push(Layer::LayerNorm { width });
        layers.push(linear(width, 1));
        layers
    }

    fn features(&self) -> Option<FeatureSet> {
        Some(FeatureSet::Both)
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        for (field, value) in [
            ("architecture.width", self.width),
            ("architecture.blocks", self.blocks),
            ("architecture.expansion", self.expansion),
        ] {
            if value == 0 {
                return Err((field, "0".to_owned(), "expected at least 1".to_owned()));
            }
        }
        Ok(())
    }
}
