//! The metadata of a router file. The type is here so that a device reads routers without
//! the `store` crate.

use serde::{Deserialize, Serialize};

use crate::{FeatureSpec, Operator, Score, ScoreError, Tau, WeightKind, WeightShape};

/// Shape of a router head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Any other head, by its operators. They end with 1 number (a logit) or 2 (r_keep,
    /// r_offload).
    Operators {
        /// What it is called where it was trained.
        name: String,
        /// From the normalised features on.
        operators: Vec<Operator>,
    },
}

impl Architecture {
    /// The operators of the head, for `features` inputs.
    #[must_use]
    pub fn operators(&self, features: usize) -> Vec<Operator> {
        let (widths, activation, rewards): (&[usize], _, usize) = match self {
            Architecture::Linear { rewards } => (&[], None, *rewards),
            Architecture::Mlp { widths, activation, rewards } => {
                (widths, Some(*activation), *rewards)
            }
            Architecture::Operators { operators, .. } => return operators.clone(),
        };
        let mut operators = Vec::new();
        let mut inputs = features;
        for &outputs in widths {
            operators.push(Operator::Linear { inputs, outputs });
            operators.extend(activation.map(|activation| Operator::Activation { activation }));
            inputs = outputs;
        }
        operators.push(Operator::Linear { inputs, outputs: rewards });
        operators
    }

    /// (Input, output) width of every linear operator, first to last, for `features` inputs.
    #[must_use]
    pub fn layers(&self, features: usize) -> Vec<(usize, usize)> {
        let widths = |shape: WeightShape| match (shape.kind, &shape.weight[..]) {
            (WeightKind::Linear, &[outputs, inputs]) => Some((inputs, outputs)),
            _ => None,
        };
        self.weights(features).into_iter().filter_map(widths).collect()
    }

    /// The tensors of the head, for `features` inputs, in the order of the file.
    #[must_use]
    pub fn weights(&self, features: usize) -> Vec<WeightShape> {
        Operator::weights(&self.operators(features))
    }

    /// Checks that the head gives a logit or two rewards of `features` inputs.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn check(&self, features: usize) -> Result<(), String> {
        match self {
            Architecture::Linear { rewards } | Architecture::Mlp { rewards, .. }
                if !matches!(rewards, 1 | 2) =>
            {
                return Err(format!("rewards is {rewards}; expected 1 or 2"));
            }
            Architecture::Mlp { widths, .. } if widths.contains(&0) => {
                return Err(format!("widths are {widths:?}; expected at least 1 each"));
            }
            _ => {}
        }
        match Operator::width_after(&self.operators(features), features)? {
            1 | 2 => Ok(()),
            given => Err(format!("the head gives {given} numbers; expected 1 or 2")),
        }
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

impl Platt {
    /// The calibrated score of a logit.
    ///
    /// # Errors
    /// A logit that is not a number.
    pub fn score(self, logit: f32) -> Result<Score, ScoreError> {
        Score::from_logit(f64::from(self.scale) * f64::from(logit) + f64::from(self.bias))
    }
}

/// One point of the calibration τ ↔ offload, measured on the calibration split, or on the
/// validation split of a table without one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TauPoint {
    /// The threshold.
    pub tau: Tau,
    /// Share of the split's labelled positions with a score below `tau`.
    pub offload: f64,
}

/// How a router was trained, and its metrics.
///
/// Cross-entropy, ranks and calibration errors count each row by its weight.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingRecord {
    /// Seed of the initial weights and the order of rows. A linear head depends on neither.
    pub seed: u64,
    /// Number of epochs run; of a linear head, steps until it converged.
    pub epochs: u32,
    /// Epoch or step whose weights were kept.
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
    /// Expected calibration error after Platt scaling, on the rows that fitted the scaling.
    pub ece_after: f64,
    /// Share of positions that must be routed to catch 95% of the divergent ones.
    pub positive_rate_at_recall_95: f64,
    /// The rows that fitted the Platt scaling and the calibration τ ↔ offload, and that gave
    /// the metrics. Empty in files of earlier versions, which used the validation split.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub measured_on: String,
    /// Maximum probability as a detector on the same rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_probability: Option<Ranks>,
    /// Entropy as a detector on the same rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<Ranks>,
    /// Whether the router ranks worse than maximum probability on these rows, by AUROC or
    /// by AUPRC.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub loses_to_max_probability: bool,
    /// How the settings were chosen; `None` if the configuration fixed all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
}

/// How well scores find divergent positions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranks {
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Area under the precision-recall curve.
    pub auprc: f64,
}

/// Settings that were chosen by validation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// What was chosen, by what, and what came next.
    pub reason: String,
    /// Place of the chosen settings in `tried`.
    pub chosen: usize,
    /// All settings, in the order they were tried.
    pub tried: Vec<Trial>,
}

/// One set of settings, and how it does on the validation rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Shape of the head.
    pub architecture: Architecture,
    /// Which features it reads.
    pub features: FeatureSpec,
    /// L2 penalty of a linear head.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l2: Option<f64>,
    /// Dropout of an MLP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// Cross-entropy after Platt scaling, so that class weights do not count.
    pub validation_loss: f64,
    /// Area under the ROC curve.
    pub auroc: f64,
    /// Area under the precision-recall curve.
    pub auprc: f64,
}

impl Trial {
    /// The settings in words, as in "logistic regression (L2 1) on the hidden state".
    #[must_use]
    pub fn settings(&self) -> String {
        let head = match (&self.architecture, self.l2, self.dropout) {
            (Architecture::Linear { .. }, Some(l2), _) => format!("logistic regression (L2 {l2})"),
            (Architecture::Linear { .. }, ..) => "logistic regression".to_owned(),
            (Architecture::Mlp { widths, .. }, _, dropout) => {
                let dropout = dropout.map_or(String::new(), |share| format!(", dropout {share}"));
                format!("MLP (widths {widths:?}{dropout})")
            }
            (Architecture::Operators { name, .. }, _, dropout) => {
                let dropout = dropout.map_or(String::new(), |share| format!(" (dropout {share})"));
                format!("{name}{dropout}")
            }
        };
        let features = self.features.summary();
        format!("{head} on {features}")
    }
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
    /// Whether large layers run in f32 too, as where the head was made. Else they run in 8 bits.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full_precision: bool,
    /// Hash of the SLM's weights.
    pub slm_hash: String,
    /// Hash of the LLM's weights.
    pub llm_hash: String,
    /// Hash of the pair's tokenizer.
    pub tokenizer_hash: String,
    /// Hash of the label table it was trained on.
    pub labels_hash: String,
    /// τ ↔ offload on the questions that calibrated the score.
    pub calibration: Vec<TauPoint>,
    /// How it was trained.
    pub training: TrainingRecord,
}

impl RouterHeader {
    /// The layout this version writes.
    pub const FORMAT: u32 = 2;
    /// The oldest layout it reads. In layout 1, τ was an f32.
    pub const OLDEST: u32 = 1;
    /// The key of the header's JSON in the safetensors metadata.
    pub const METADATA_KEY: &'static str = "tokenroute.router";

    /// Checks that the features are within bounds, and that the head gives a logit or two rewards
    /// of them.
    ///
    /// # Errors
    /// What does not fit, in words.
    pub fn check(&self) -> Result<(), String> {
        self.features.check()?;
        self.architecture.check(self.features.width())
    }

    /// Number of weights and biases.
    #[must_use]
    pub fn parameters(&self) -> usize {
        let shapes = self.architecture.weights(self.features.width());
        shapes.iter().map(|shape| shape.weights() + shape.bias).sum()
    }

    /// Takes the decimals of τ in layout 1 for the f32 that they stood for.
    #[must_use]
    pub fn widened(mut self) -> Self {
        if self.format == 1 {
            for point in &mut self.calibration {
                let narrow = point.tau.get() as f32;
                point.tau = Tau::new(f64::from(narrow)).unwrap_or(point.tau);
            }
        }
        self
    }

    /// The largest τ of the calibration with an offload of at most `share` there and at
    /// every smaller τ. `None` if the router has no calibration.
    #[must_use]
    pub fn tau_at_offload(&self, share: f64) -> Option<Tau> {
        let held = self.calibration.iter().take_while(|point| point.offload <= share).last();
        (!self.calibration.is_empty()).then(|| held.map_or(Tau::SLM_ONLY, |point| point.tau))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(format: u32, points: &[(f64, f64)]) -> RouterHeader {
        let point = |&(tau, offload)| TauPoint { tau: Tau::new(tau).expect("in range"), offload };
        RouterHeader {
            format,
            architecture: Architecture::Linear { rewards: 1 },
            features: FeatureSpec { hidden: 1, ..FeatureSpec::default() },
            normalisation: Normalisation { mean: vec![0.0], scale: vec![1.0] },
            platt: Platt { scale: 1.0, bias: 0.0 },
            full_precision: false,
            slm_hash: String::new(),
            llm_hash: String::new(),
            tokenizer_hash: String::new(),
            labels_hash: String::new(),
            calibration: points.iter().map(point).collect(),
            training: TrainingRecord::default(),
        }
    }

    #[test]
    fn tau_stays_within_the_offload() {
        let router = header(2, &[(0.0, 0.0), (0.4, 0.05), (0.9, 0.2), (1.0, 1.0)]);
        for (share, tau) in [(0.0, 0.0), (0.05, 0.4), (0.19, 0.4), (0.2, 0.9), (1.0, 1.0)] {
            assert_eq!(router.tau_at_offload(share), Tau::new(tau).ok(), "{share}");
        }
        assert_eq!(header(2, &[]).tau_at_offload(0.5), None);
    }

    #[test]
    fn the_first_layout_is_widened() {
        let tau = |format| header(format, &[(0.1, 0.0)]).widened().calibration[0].tau.get();
        assert_eq!((tau(1), tau(2)), (f64::from(0.1f32), 0.1));
    }
}
