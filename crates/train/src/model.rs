//! A router's head in Burn: runs layers, in training and when validated.

use std::slice;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::{gelu, relu, sigmoid, silu, tanh};
use burn::tensor::{Device, Tensor, TensorData};
use tokenroute_core::{Activation, Architecture};
use tokenroute_store::RouterLayer;

use crate::layer::{EPSILON, Layer, each, is_recurrent};
use crate::steps::Packed;
use crate::{Rows, TrainError};

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

/// The weights of an affine layer or of a norm.
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
    /// How many rows are at the first step of their answer, at the second, …: [`Packed`].
    sizes: &'p [usize],
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
        let linear = |layer: &RouterLayer, inputs: usize, outputs: usize| {
            let weight = transpose(&layer.weight, outputs, inputs);
            let weight = TensorData::new(weight, [inputs, outputs]);
            let weight = Param::from_data(weight, device);
            Linear { weight, bias: Some(row(&layer.bias)) }
        };
        each(&layers, &mut |layer| match *layer {
            Layer::Linear { inputs, outputs } => {
                linears.extend(weights.next().map(|layer| linear(layer, inputs, outputs)));
            }
            Layer::Gru { inputs, width } => {
                for inputs in [inputs, width] {
                    linears.extend(weights.next().map(|layer| linear(layer, inputs, 3 * width)));
                }
            }
            Layer::Affine { .. } | Layer::BatchNorm { .. } | Layer::LayerNorm { .. } => {
                let Some(RouterLayer { weight, bias }) = weights.next() else { return };
                scales.push(Scale { weight: row(weight), bias: row(bias) });
            }
            Layer::Activation(_) | Layer::Dropout | Layer::Residual(_) => {}
        });
        RouterHead { linears, scales, layers }
    }

    /// Logits f(h) `[rows]` of normalised features `[rows, features]`. Each dropout multiplies
    /// the activations `[rows, width]` by one of `masks`. Scoring passes none. For a recurrent head,
    /// every row begins an answer.
    #[must_use]
    pub fn logits(&self, features: Tensor<2>, masks: &[Tensor<2>]) -> Tensor<1> {
        let rows = features.dims()[0];
        self.training_logits(features, masks, &[rows]).0
    }

    /// The same, with the mean and the variance of the batch for each batch norm. A recurrent head
    /// takes the rows as [`Packed`] has them.
    pub(crate) fn training_logits(
        &self,
        features: Tensor<2>,
        masks: &[Tensor<2>],
        sizes: &[usize],
    ) -> (Tensor<1>, BatchStatistics) {
        let mut pass = Pass {
            linears: self.linears.iter(),
            scales: self.scales.iter(),
            masks: masks.iter(),
            statistics: Vec::new(),
            sizes,
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

    /// Logits of normalised features `[positions, features]` of whole answers, one after another, of
    /// these lengths.
    ///
    /// # Errors
    /// The backend's failure.
    pub fn score_answers(
        &self,
        features: &[f32],
        lengths: &[usize],
    ) -> Result<Vec<f32>, TrainError> {
        if !is_recurrent(&self.layers) {
            return self.score(features);
        }
        let Some(first) = self.linears.first() else { return Ok(Vec::new()) };
        let weight = first.weight.val();
        let (width, device) = (weight.dims()[0], weight.device());
        let mut logits = vec![0.0; features.len() / width];
        for answers in Packed::chunks(lengths, SCORE_ROWS) {
            let packed = Packed::of(&answers);
            let rows = |&at: &usize| &features[at * width..(at + 1) * width];
            let values: Vec<f32> = packed.positions.iter().flat_map(rows).copied().collect();
            let data = TensorData::new(values, [packed.positions.len(), width]);
            let data = Tensor::from_data(data, &device);
            let found = self::values(self.training_logits(data, &[], &packed.sizes).0)?;
            packed.positions.iter().zip(found).for_each(|(&at, logit)| logits[at] = logit);
        }
        Ok(logits)
    }

    /// Logits of some rows.
    ///
    /// # Errors
    /// A recurrent head on rows without steps, or the backend's failure.
    pub fn score_rows(&self, rows: &Rows) -> Result<Vec<f32>, TrainError> {
        if !is_recurrent(&self.layers) {
            return self.score(&rows.features);
        }
        let head = || "a recurrent head".to_owned();
        let steps = rows.steps.as_ref().ok_or_else(|| TrainError::NoSteps { head: head() })?;
        let all = self.score_answers(&steps.features, &steps.lengths())?;
        Ok(steps.of_rows.iter().map(|&at| all[at]).collect())
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
            Layer::Gru { .. } => found.extend(linears.by_ref().take(2).map(of_linear)),
            Layer::Affine { .. } | Layer::BatchNorm { .. } | Layer::LayerNorm { .. } => {
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
                Layer::LayerNorm { .. } => {
                    let centred = x.clone() - x.mean_dim(1); // [rows, width]
                    let variance = centred.clone().powf_scalar(2.0).mean_dim(1); // [rows, 1]
                    self.scaled(centred / (variance + EPSILON).sqrt())
                }
                Layer::Activation(Activation::Relu) => relu(x),
                Layer::Activation(Activation::Gelu) => gelu(x),
                Layer::Activation(Activation::Silu) => silu(x),
                Layer::Dropout => match self.masks.next() {
                    Some(mask) => x * mask.clone(),
                    None => x,
                },
                Layer::Residual(inner) => x.clone() + self.run(inner, x),
                &Layer::Gru { width, .. } => match (self.linears.next(), self.linears.next()) {
                    (Some(input), Some(state)) => self.unrolled(input, state, width, x),
                    _ => x,
                },
            };
        }
        x
    }

    /// A recurrent unit along the steps of all answers. An answer that has ended leaves the others,
    /// which stand before it.
    fn unrolled(&self, input: &Linear, state: &Linear, width: usize, x: Tensor<2>) -> Tensor<2> {
        let given = input.forward(x); // [rows, 3 width]
        let answers = self.sizes.first().copied().unwrap_or_default();
        let mut h = Tensor::zeros([answers, width], &given.device());
        let part = |of: &Tensor<2>, i: usize| of.clone().narrow(1, i * width, width);
        let (mut from, mut states) = (0, Vec::with_capacity(self.sizes.len()));
        for &size in self.sizes {
            let x = given.clone().narrow(0, from, size); // [size, 3 width]
            from += size;
            h = h.narrow(0, 0, size);
            let u = state.forward(h.clone()); // [size, 3 width]
            let r = sigmoid(part(&x, 0) + part(&u, 0));
            let z = sigmoid(part(&x, 1) + part(&u, 1));
            let n = tanh(part(&x, 2) + r * part(&u, 2));
            h = n.clone() + z * (h - n);
            states.push(h.clone());
        }
        Tensor::cat(states, 0)
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
