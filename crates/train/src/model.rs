//! The router head in Burn: linear layers with an activation between them, and one logit or
//! two rewards at the end.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::{gelu, relu, silu};
use burn::tensor::{Device, Tensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokenroute_core::{Activation, Architecture};
use tokenroute_store::RouterLayer;

use crate::TrainError;

/// Rows per batch when scoring.
const SCORE_ROWS: usize = 4096;

/// A linear or MLP head. It gives f(h) = r_keep − r_offload, the logit of P(keep ≻ offload
/// | h). With one reward, that reward is the logit.
#[derive(Module, Debug)]
pub struct RouterHead {
    layers: Vec<Linear>,
    #[module(skip)]
    activation: Activation,
}

impl RouterHead {
    /// A head with these weights, which must have the architecture's shapes. Training needs
    /// an autodiff device.
    #[must_use]
    pub fn new(
        architecture: &Architecture,
        features: usize,
        layers: &[RouterLayer],
        device: &Device,
    ) -> Self {
        let activation = match architecture {
            Architecture::Linear { .. } => Activation::Relu,
            Architecture::Mlp { activation, .. } => *activation,
        };
        let layers = layers
            .iter()
            .zip(architecture.layers(features))
            .map(|(layer, (inputs, outputs))| {
                let weight = transpose(&layer.weight, outputs, inputs);
                let weight = TensorData::new(weight, [inputs, outputs]);
                let bias = TensorData::new(layer.bias.clone(), [outputs]);
                Linear {
                    weight: Param::from_data(weight, device),
                    bias: Some(Param::from_data(bias, device)),
                }
            })
            .collect();
        RouterHead { layers, activation }
    }

    /// Logits f(h) `[rows]` of normalised features `[rows, features]`. Dropout multiplies
    /// each layer's activations `[rows, width]` by one of `masks`. Scoring passes none.
    #[must_use]
    pub fn logits(&self, features: Tensor<2>, masks: &[Tensor<2>]) -> Tensor<1> {
        let mut x = features;
        for (i, layer) in self.layers.iter().enumerate() {
            if i > 0 {
                x = match self.activation {
                    Activation::Relu => relu(x),
                    Activation::Gelu => gelu(x),
                    Activation::Silu => silu(x),
                };
                if let Some(mask) = masks.get(i - 1) {
                    x = x * mask.clone();
                }
            }
            x = layer.forward(x); // [rows, width of the layer]
        }
        let [rows, rewards] = x.dims();
        if rewards == 2 {
            x = x.clone().narrow(1, 0, 1) - x.narrow(1, 1, 1); // [rows, 1]
        }
        x.reshape([rows])
    }

    /// Logits of normalised features `[rows, features]`, row-major.
    ///
    /// # Errors
    /// The backend's failure.
    pub fn score(&self, features: &[f32]) -> Result<Vec<f32>, TrainError> {
        let Some(first) = self.layers.first() else { return Ok(Vec::new()) };
        let weight = first.weight.val();
        let (width, device) = (weight.dims()[0], weight.device());
        let mut logits = Vec::with_capacity(features.len() / width);
        for chunk in features.chunks(SCORE_ROWS * width) {
            let data = TensorData::new(chunk.to_vec(), [chunk.len() / width, width]);
            logits.extend(values(self.logits(Tensor::from_data(data, &device), &[]))?);
        }
        Ok(logits)
    }

    /// Copies the weights out.
    ///
    /// # Errors
    /// The backend's failure.
    pub fn layers(&self) -> Result<Vec<RouterLayer>, TrainError> {
        let mut layers = Vec::with_capacity(self.layers.len());
        for linear in &self.layers {
            let weight = linear.weight.val();
            let [inputs, outputs] = weight.dims();
            let bias = match &linear.bias {
                Some(bias) => values(bias.val())?,
                None => vec![0.0; outputs],
            };
            let weight = transpose(&values(weight)?, inputs, outputs);
            layers.push(RouterLayer { weight, bias });
        }
        Ok(layers)
    }
}

/// Copies a tensor's values out.
fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    tensor.into_data().try_to_vec().map_err(|e| TrainError::Backend(format!("{e:?}")))
}

/// Random weights, uniform in ±1/√inputs as in PyTorch's `nn.Linear`. The same on every
/// device.
pub(crate) fn initial(
    architecture: &Architecture,
    features: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<RouterLayer> {
    architecture
        .layers(features)
        .into_iter()
        .map(|(inputs, outputs)| {
            let bound = 1.0 / (inputs as f32).sqrt();
            let mut draw = |n: usize| (0..n).map(|_| rng.random_range(-bound..bound)).collect();
            RouterLayer { weight: draw(inputs * outputs), bias: draw(outputs) }
        })
        .collect()
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| values[(i % rows) * columns + i / rows]).collect()
}
