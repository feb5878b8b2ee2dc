//! The optimizer: AdamW without decay on norms and biases, optionally Muon for the layers'
//! matrices, and clipping by the norm of the whole gradient.

use burn::module::ParamGroup;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{AdamWConfig, AdjustLrFn, GradientsParams, ModuleOptimizer, MuonConfig};
use burn::tensor::{Device, Tensor, TensorData};

use crate::config::{OptimizerKind, PairTrainConfig};
use crate::model::NamedParameter;

/// Builds the optimizer of a run.
#[must_use]
pub fn build(config: &PairTrainConfig) -> ModuleOptimizer {
    #[expect(clippy::cast_possible_truncation, reason = "Burn's optimizers take f32")]
    let decay = config.weight_decay as f32;
    let adam =
        AdamWConfig::new().with_beta_1(config.beta_1).with_beta_2(config.beta_2).with_epsilon(1e-8);
    let undecayed = ParamGroup::from_any_predicates(vec!["norm", "bias"]);
    let optimizer = adam.clone().with_weight_decay(decay).init().with_group(
        undecayed,
        adam.with_weight_decay(0.0).build(),
        None,
    );
    match config.optimizer {
        OptimizerKind::AdamW => optimizer,
        OptimizerKind::Muon => {
            let matrices = ParamGroup::from_any_predicates(vec!["proj.weight"]);
            let muon = MuonConfig::new()
                .with_weight_decay(Some(WeightDecayConfig::new(decay)))
                .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW);
            optimizer.with_group(matrices, muon.build(), None)
        }
    }
}

/// Scales the gradient down to a norm of at most `longest`. Returns the norm before.
pub fn clip(gradient: &mut [NamedParameter], longest: f64) -> f64 {
    let square: f64 =
        gradient.iter().map(|part| part.values.iter().map(|x| f64::from(x * x)).sum::<f64>()).sum();
    let norm = square.sqrt();
    if norm > longest {
        #[expect(clippy::cast_possible_truncation, reason = "the model is f32")]
        let factor = (longest / norm) as f32;
        for part in gradient {
            part.values.iter_mut().for_each(|x| *x *= factor);
        }
    }
    norm
}

/// Converts a gradient for Burn. `device` is the model's, without autodiff.
#[must_use]
pub fn register(gradient: Vec<NamedParameter>, device: &Device) -> GradientsParams {
    let mut registered = GradientsParams::new();
    for NamedParameter { id, shape, values, .. } in gradient {
        let data = TensorData::new(values, shape.clone());
        if shape.len() == 2 {
            registered.register(id, Tensor::<2>::from_data(data, device));
        } else {
            registered.register(id, Tensor::<1>::from_data(data, device));
        }
    }
    registered
}
