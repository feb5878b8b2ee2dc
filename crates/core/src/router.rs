//! The metadata of a router file. The type is here so that a device reads routers without
//! the `store` crate.

use serde::{Deserialize, Serialize};

use crate::{FeatureSpec, Tau};

/// Shape of a router head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// One linear layer, features → rewards.
    Linear {
        /// 1 (a logit) or 2 (r_keep, r_offload).
        rewards: usize,
    },
    /// CITER's head: linear layers with an activation between them.
    Mlp {
        /// Widths of the hidden layers, first to last.
        widths: Vec<usize>,
        /// Between the layers.
        activation: Activation,
        /// 1 (a logit) or 2 (r_keep, r_offload).
        rewards: usize,
    },
}

impl Architecture {
    /// (Input, output) width of every linear layer, first to last, for `features` inputs.
    /// The file holds them as `layers.{i}.weight` `[out, in]` and `layers.{i}.bias`
    /// `[out]`.
    #[must_use]
    pub fn layers(&self, features: usize) -> Vec<(usize, usize)> {
        let (widths, rewards): (&[usize], usize) = match self {
            Architecture::Linear { rewards } => (&[], *rewards),
            Architecture::Mlp { widths, rewards, .. } => (widths, *rewards),
        };
        let mut layers = Vec::new();
        let mut input = features;
        for &width in widths.iter().chain([&rewards]) {
            layers.push((input, width));
            input = width;
        }
        layers
    }
}

/// Activation between the layers of an MLP head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(0, x)
    Relu,
    /// x · Φ(x), exact
    Gelu,
    /// x · σ(x)
    Silu,
}

/// Per-feature normalisation, (x − mean) · scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Normalisation {
    /// `[features]`
    pub mean: Vec<f32>,
    /// `[features]`, 1 / standard deviation
    pub scale: Vec<f32>,
}

/// Platt scaling of the logit: score = σ(scale · logit + bias).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Platt {
    /// Multiplies the logit.
    pub scale: f32,
    /// Added to it.
    pub bias: f32,
}

/// One point of the calibration τ ↔ offload, measured on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TauPoint {
    /// The threshold.
    pub tau: Tau,
    /// Share of the labelled validation positions with a score below `tau`.
    pub offload: f64,
}

/// How a router was trained, and its metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Seed of the initial weights and the order of rows.
    pub seed: u64,
    /// Number of epochs run.
    pub epochs: u32,
    /// Epoch whose weights were kept.
    pub best_epoch: u32,
    /// Number of training rows and of validation rows.
    pub rows: [u64; 2],
    /// Cross-entropy on the validation rows, without class weights.
    pub validation_loss: f64,
    /// Area under the ROC curve for finding divergent positions.
    pub auroc: f64,
    /// Area under the precision-recall curve for finding divergent positions.
    pub auprc: f64,
    /// Expected calibration error before Platt scaling.
    pub ece_before: f64,
    /// Expected calibration error after Platt scaling.
    pub ece_after: f64,
    /// Share of positions that must be routed to catch 95% of the divergent ones.
    pub positive_rate_at_recall_95: f64,
}

/// Everything a router file holds besides its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RouterHeader {
    /// Version of this layout. Readers refuse other versions.
    pub format: u32,
    /// Shape of the router head.
    pub architecture: Architecture,
    /// Which features it reads.
    pub features: FeatureSpec,
    /// How its input is normalised.
    pub normalisation: Normalisation,
    /// How its logit becomes a score.
    pub platt: Platt,
    /// Hash of the SLM's weights.
    pub slm_hash: String,
    /// Hash of the LLM's weights.
    pub llm_hash: String,
    /// Hash of the pair's tokenizer.
    pub tokenizer_hash: String,
    /// Hash of the label table it was trained on.
    pub labels_hash: String,
    /// τ ↔ offload on the validation split.
    pub calibration: Vec<TauPoint>,
    /// How it was trained.
    pub training: TrainingRecord,
}

impl RouterHeader {
    /// The layout this version writes.
    pub const FORMAT: u32 = 1;
    /// The key of the header's JSON in the safetensors metadata.
    pub const METADATA_KEY: &'static str = "tokenroute.router";
}
