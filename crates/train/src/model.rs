//! A router's head in Burn: runs layers, in training and when validated.

use std::slice;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::{gelu, relu, silu};
use burn::tensor::{Device, Tensor, TensorData};
use tokenroute_core::{Activation, Architecture};
use tokenroute_store::RouterLayer;

use crate::TrainError;
use crate::layer::{EPSILON, Layer, each};

/// Rows per batch when scoring.
const SCORE_ROWS: usize = 4096;

/// A head. It gives f(h) = r_keep − r_offload, the logit of P(keep ≻ offload | h). With one
/// reward, that reward is the logit.
#[derive(Module, Debug)]
pub struct RouterHead {
    linears: Vec<Linear>,
    scales: Vec<Scale>,
    #[module(skip)]
    layers: Vec<Layer>,
}

/// The weights of an affine layer or of batch norm.
#[derive(Module, Debug)]
struct Scale {
    /// `[width]`
    weight: Param<Tensor<1>>,
    /// `[width]`
    bias: Param<Tensor<1>>,
}

/// Mean and variance of the batch, of each batch norm.
type BatchStatistics = Vec<[Tensor<1>; 2]>;

/// One pass over the layers.
struct Pass<'p> {
    linears: slice::Iter<'p, Linear>,
    scales: slice::Iter<'p, Scale>,
    masks: slice::Iter<'p, Tensor<2>>,
    statistics: BatchStatistics,
}

impl RouterHead {
    /// A head with these weights, which must have the architecture's shapes. Training needs
    /// an autodiff device.
    ///
    /// # Errors
    /// An operator that is not trained here.
    pub fn new(
        architecture: &Architecture,
        features: usize,
        weights: &[RouterLayer],
        device: &Device,
    ) -> Result<Self, TrainError> {
        let operators = architecture.operators(features);
        let layers: Result<_, _> = operators.iter().map(Layer::try_from).collect();
        Ok(Self::of_layers(layers?, weights, device))
    }

    /// The same of layers.
    pub(crate) fn of_layers(layers: Vec<Layer>, weights: &[RouterLayer], device: &Device) -> Self {
        let (mut linears, mut scales) = (Vec::new(), Vec::new());
        let mut weights = weights.iter();
        let row = |values: &[f32]| -> Param<Tensor<1>> {
            Param::from_data(TensorData::new(values.to_vec(), [values.len()]), device)
        };
        each(&layers, &mut |layer| match *layer {
            Layer::Linear { inputs, outputs } => {
                let Some(RouterLayer { weight, bias }) = weights.next() else { return };
                let weight = transpose(weight, outputs, inputs);
                let weight = TensorData::new(weight, [inputs, outputs]);
                let weight = Param::from_data(weight, device);
                linears.push(Linear { weight, bias: Some(row(bias)) });
            }
            Layer::Affine { .. } | Layer::BatchNorm { .. } => {
                let Some(RouterLayer { weight, bias }) = weights.next() else { return };
                scales.push(Scale { weight: row(weight), bias: row(bias) });
            }
            Layer::Activation(_) | Layer::Dropout | Layer::Residual(_) => {}
        });
        RouterHead { linears, scales, layers }
    }

    /// Logits f(h) `[rows]` of normalised features `[rows, features]`. Each dropout multiplies
    /// the activations `[rows, width]` by one of `masks`. Scoring passes none.
    #[must_use]
    pub fn logits(&self, features: Tensor<2>, masks: &[Tensor<2>]) -> Tensor<1> {
        self.training_logits(features, masks).0
    }

    /// The same, with the mean and the variance of the batch for each batch norm.
    pub(crate) fn training_logits(
        &self,
        features: Tensor<2>,
        masks: &[Tensor<2>],
    ) -> (Tensor<1>, BatchStatistics) {
        let mut pass = Pass {
            linears: self.linears.iter(),
            scales: self.scales.iter(),
            masks: masks.iter(),
            statistics: Vec::new(),
        };
        let mut x = pass.run(&self.layers, features);
        let [rows, rewards] = x.dims();
        if rewards == 2 {
            x = x.clone().narrow(1, 0, 1) - x.narrow(1, 1, 1); // [rows, 1]
        }
        (x.reshape([rows]), pass.statistics)
    }

    /// Logits of normalised features `[rows, features]`, row-major.
    ///
    /// # Errors
    /// The backend's failure.
    pub fn score(&self, features: &[f32]) -> Result<Vec<f32>, TrainError> {
        let Some(first) = self.linears.first() else { return Ok(Vec::new()) };
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
        let (mut linears, mut scales) = (self.linears.iter(), self.scales.iter());
        let mut found = Vec::new();
        each(&self.layers, &mut |layer| match layer {
            Layer::Linear { .. } => found.extend(linears.next().map(of_linear)),
            Layer::Affine { .. } | Layer::BatchNorm { .. } => {
                found.extend(scales.next().map(of_scale));
            }
            Layer::Activation(_) | Layer::Dropout | Layer::Residual(_) => {}
        });
        found.into_iter().collect()
    }
}

impl Pass<'_> {
    fn run(&mut self, layers: &[Layer], mut x: Tensor<2>) -> Tensor<2> {
        for layer in layers {
            x = match layer {
                Layer::Linear { .. } => match self.linears.next() {
                    Some(linear) => linear.forward(x), // [rows, outputs]
                    None => x,
                },
                Layer::Affine { .. } => self.scaled(x),
                Layer::BatchNorm { .. } => {
                    let normed = self.normalised(x);
                    self.scaled(normed)
                }
                Layer::Activation(Activation::Relu) => relu(x),
                Layer::Activation(Activation::Gelu) => gelu(x),
                Layer::Activation(Activation::Silu) => silu(x),
                Layer::Dropout => match self.masks.next() {
                    Some(mask) => x * mask.clone(),
                    None => x,
                },
                Layer::Residual(inner) => x.clone() + self.run(inner, x),
            };
        }
        x
    }

    /// w · x + b, with the next weights.
    fn scaled(&mut self, x: Tensor<2>) -> Tensor<2> {
        let Some(Scale { weight, bias }) = self.scales.next() else { return x };
        x * weight.val().unsqueeze::<2>() + bias.val().unsqueeze::<2>()
    }

    /// (x − m) / √(v + ε) with mean and variance of the batch.
    fn normalised(&mut self, x: Tensor<2>) -> Tensor<2> {
        let [rows, width] = x.dims();
        let mean = x.clone().mean_dim(0); // [1, width]
        let centred = x - mean.clone();
        let variance = centred.clone().powf_scalar(2.0).mean_dim(0); // [1, width]
        // The running variance is that of a sample.
        let sample = rows as f32 / (rows as f32 - 1.0).max(1.0);
        let kept = |of: &Tensor<2>| of.clone().detach().reshape([width]);
        self.statistics.push([kept(&mean), kept(&variance) * sample]);
        centred / (variance + EPSILON).sqrt()
    }
}

fn of_linear(linear: &Linear) -> Result<RouterLayer, TrainError> {
    let weight = linear.weight.val();
    let [inputs, outputs] = weight.dims();
    let bias = match &linear.bias {
        Some(bias) => values(bias.val())?,
        None => vec![0.0; outputs],
    };
    let weight = transpose(&values(weight)?, inputs, outputs);
    Ok(RouterLayer { weight, bias })
}

fn of_scale(scale: &Scale) -> Result<RouterLayer, TrainError> {
    Ok(RouterLayer { weight: values(scale.weight.val())?, bias: values(scale.bias.val())? })
}

/// Copies a tensor's values out.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, TrainError> {
    tensor.into_data().try_to_vec().map_err(|e| TrainError::Backend(format!("{e:?}")))
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| values[(i % rows) * columns + i / rows]).collect()
}
