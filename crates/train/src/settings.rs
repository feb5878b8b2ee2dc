//! What validation may choose: head, features, L2 penalty and dropout. Keys that the
//! configuration sets are fixed.

use std::sync::Arc;

use tokenroute_core::{Activation, Architecture, Feature, FeatureSpec, Ranks, Trial};

use crate::layer::Layer;
use crate::{FeatureSet, Head, HeadConfig, TrainConfig, TrainError};

/// L2 penalties to try, strong to weak. Features are standardised and the loss is a mean, so
/// scikit-learn's C is 1 / (L2 · rows).
const L2: [f64; 7] = [10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01];
/// Part of the penalty that the weights of the probabilities have, and of all features that are no
/// hidden state. These features are few, and each says more than one number of a hidden state.
const PROBABILITIES: f64 = 0.01;
/// Widths of the MLP's hidden layer to try.
const WIDTHS: [usize; 2] = [16, 64];
/// Shares of dropout to try.
const DROPOUT: [f64; 2] = [0.1, 0.5];

/// The settings of one fit that validation may choose.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The head.
    pub head: Arc<dyn Head>,
    /// Which features it reads.
    pub features: FeatureSpec,
    /// L2 penalty on the weights of hidden states and their means; those of the other features have
    /// a hundredth of it. Linear heads alone.
    pub l2: f64,
    /// Dropout; heads with dropout alone.
    pub dropout: f64,
}

impl Settings {
    /// All settings that the configuration leaves open, small models first.
    ///
    /// # Errors
    /// A head that cannot be read.
    pub fn candidates(config: &TrainConfig, hidden: usize) -> Result<Vec<Self>, TrainError> {
        let heads: Vec<Arc<dyn Head>> = match config.head()? {
            Some(head) => vec![head.into()],
            None => {
                let mlp = WIDTHS.map(|width| Architecture::Mlp {
                    widths: vec![width],
                    activation: Activation::Relu,
                    rewards: 1,
                });
                let tried = [Architecture::Linear { rewards: 1 }].into_iter().chain(mlp);
                let head = |shape| -> Result<Arc<dyn Head>, TrainError> {
                    Ok(HeadConfig::from(shape).head()?.into())
                };
                tried.map(head).collect::<Result<_, _>>()?
            }
        };
        let found = heads.iter().flat_map(|head| Self::of_head(head, config, hidden));
        Ok(found.collect())
    }

    /// All settings of a head that the configuration leaves open.
    #[must_use]
    pub fn of_head(head: &Arc<dyn Head>, config: &TrainConfig, hidden: usize) -> Vec<Self> {
        let sets = match head.features().or_else(|| config.features.clone()) {
            Some(set) => vec![set],
            None if config.top_k == 0 => vec![FeatureSet::Hidden],
            None => vec![FeatureSet::Probabilities, FeatureSet::Hidden, FeatureSet::Both],
        };
        let mut found = Vec::new();
        for set in &sets {
            let features = set.spec(hidden, config.top_k);
            let layers = head.layers(features.width());
            let linear = is_linear(&layers);
            let drops = drops(&layers);
            let mut add = |l2, dropout| {
                let (head, features) = (Arc::clone(head), features.clone());
                found.push(Settings { head, features, l2, dropout });
            };
            if linear {
                config.l2.map_or(L2.to_vec(), |l2| vec![l2]).iter().for_each(|&l2| add(l2, 0.0));
            } else if !drops {
                add(0.0, 0.0);
            } else {
                let open = config.dropout.map_or(DROPOUT.to_vec(), |dropout| vec![dropout]);
                open.iter().for_each(|&dropout| add(0.0, dropout));
            }
        }
        found
    }

    /// The penalty on each feature's weight.
    pub(crate) fn penalties(&self) -> Vec<f64> {
        let hidden = self.features.reads_hidden();
        let of = |feature: &Arc<dyn Feature>| {
            let factor = if feature.reads_hidden() { 1.0 } else { PROBABILITIES };
            vec![factor * self.l2; feature.width(hidden)]
        };
        self.features.features().iter().flat_map(of).collect()
    }

    /// These settings, with how they did.
    #[must_use]
    pub fn trial(&self, validation_loss: f64, ranks: Ranks) -> Trial {
        let layers = self.head.layers(self.features.width());
        let (linear, drops) = (is_linear(&layers), drops(&layers));
        Trial {
            architecture: self.head.architecture(self.features.width()),
            features: self.features.clone(),
            l2: linear.then_some(self.l2),
            dropout: drops.then_some(self.dropout),
            validation_loss,
            auroc: ranks.auroc,
            auprc: ranks.auprc,
        }
    }
}

/// Whether layers are one linear one, whose loss has one minimum.
pub(crate) fn is_linear(layers: &[Layer]) -> bool {
    matches!(layers, [Layer::Linear { .. }])
}

/// Whether layers have dropout.
fn drops(layers: &[Layer]) -> bool {
    let mut found = false;
    crate::layer::each(layers, &mut |layer| found |= matches!(layer, Layer::Dropout));
    found
}
