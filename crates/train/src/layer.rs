//! Layers of a head as they are trained, their first weights, and the operators that they become.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tokenroute_core::{Activation, Operator};
use tokenroute_store::RouterLayer;

use crate::TrainError;

/// Added to a variance before its root, as in PyTorch's batch norm.
pub(crate) const EPSILON: f32 = 1e-5;

/// One layer of a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layer {
    /// W · x + b.
    Linear {
        /// Numbers read.
        inputs: usize,
        /// Numbers given.
        outputs: usize,
    },
    /// w · x + b for each number.
    Affine {
        /// Numbers read and given.
        width: usize,
    },
    /// Batch norm (Ioffe and Szegedy 2015). In the router file it is an affine operator with the
    /// running mean and variance folded in.
    BatchNorm {
        /// Numbers read and given.
        width: usize,
    },
    /// Layer norm (Ba et al. 2016).
    LayerNorm {
        /// Numbers read and given.
        width: usize,
    },
    /// A function of each number.
    Activation(Activation),
    /// Dropout by `train.dropout`. It is no operator.
    Dropout,
    /// x + f(x).
    Residual(Vec<Layer>),
    /// A gated recurrent unit over the steps of an answer, as [`Operator::Gru`]. Training unrolls it
    /// over whole answers, and mini-batches hold whole answers.
    Gru {
        /// Numbers read.
        inputs: usize,
        /// Numbers of the state.
        width: usize,
    },
}

impl TryFrom<&Operator> for Layer {
    type Error = TrainError;

    fn try_from(operator: &Operator) -> Result<Self, TrainError> {
        let refuse = |name| Err(TrainError::Untrained { operator: name });
        match operator {
            &Operator::Linear { inputs, outputs } => Ok(Layer::Linear { inputs, outputs }),
            &Operator::Affine { width } => Ok(Layer::Affine { width }),
            &Operator::LayerNorm { width } => Ok(Layer::LayerNorm { width }),
            &Operator::Activation { activation } => Ok(Layer::Activation(activation)),
            &Operator::Gru { inputs, width } => Ok(Layer::Gru { inputs, width }),
            Operator::Residual { operators, skip } if skip.is_empty() => {
                let inner: Result<_, _> = operators.iter().map(Layer::try_from).collect();
                Ok(Layer::Residual(inner?))
            }
            Operator::Residual { .. } => refuse("residual with a skip of its own"),
            Operator::Softmax => refuse("softmax"),
            Operator::Embedding { .. } => refuse("embedding"),
            Operator::Parts { .. } => refuse("parts"),
        }
    }
}

/// The operators of trained layers.
pub(crate) fn operators(layers: &[Layer]) -> Vec<Operator> {
    let of = |layer: &Layer| match layer {
        &Layer::Linear { inputs, outputs } => Some(Operator::Linear { inputs, outputs }),
        &Layer::Affine { width } | &Layer::BatchNorm { width } => Some(Operator::Affine { width }),
        &Layer::LayerNorm { width } => Some(Operator::LayerNorm { width }),
        &Layer::Activation(activation) => Some(Operator::Activation { activation }),
        Layer::Dropout => None,
        &Layer::Gru { inputs, width } => Some(Operator::Gru { inputs, width }),
        Layer::Residual(inner) => {
            Some(Operator::Residual { operators: operators(inner), skip: Vec::new() })
        }
    };
    layers.iter().filter_map(of).collect()
}

/// Calls `of` with every layer, those within a residual in their place.
pub(crate) fn each(layers: &[Layer], of: &mut dyn FnMut(&Layer)) {
    for layer in layers {
        if let Layer::Residual(inner) = layer {
            each(inner, of);
        } else {
            of(layer);
        }
    }
}

/// Whether some layer goes along the steps of an answer.
pub(crate) fn is_recurrent(layers: &[Layer]) -> bool {
    let mut found = false;
    each(layers, &mut |layer| found |= matches!(layer, Layer::Gru { .. }));
    found
}

/// Random weights, uniform in ±1/√inputs as in PyTorch's `nn.Linear`, and in ±1/√width as in its
/// `nn.GRU`. The same on every device.
/// Affine layers and norms begin as they are read.
pub(crate) fn initial(layers: &[Layer], rng: &mut ChaCha8Rng) -> Vec<RouterLayer> {
    let mut weights = Vec::new();
    each(layers, &mut |layer| match *layer {
        Layer::Linear { inputs, outputs } => {
            let bound = 1.0 / (inputs as f32).sqrt();
            let mut draw = |n: usize| (0..n).map(|_| rng.random_range(-bound..bound)).collect();
            weights.push(RouterLayer { weight: draw(inputs * outputs), bias: draw(outputs) });
        }
        Layer::Gru { inputs, width } => {
            let bound = 1.0 / (width as f32).sqrt();
            let mut draw = |n: usize| (0..n).map(|_| rng.random_range(-bound..bound)).collect();
            for inputs in [inputs, width] {
                let (weight, bias) = (draw(3 * width * inputs), draw(3 * width));
                weights.push(RouterLayer { weight, bias });
            }
        }
        Layer::Affine { width } | Layer::BatchNorm { width } | Layer::LayerNorm { width } => {
            weights.push(RouterLayer { weight: vec![1.0; width], bias: vec![0.0; width] });
        }
        Layer::Activation(_) | Layer::Dropout | Layer::Residual(_) => {}
    });
    weights
}

/// The widths at which dropout acts, first to last, from `features` numbers on.
pub(crate) fn dropout_widths(layers: &[Layer], features: usize) -> Vec<usize> {
    let (mut widths, mut now) = (Vec::new(), features);
    each(layers, &mut |layer| match *layer {
        Layer::Linear { outputs, .. } => now = outputs,
        Layer::Gru { width, .. } => now = width,
        Layer::Dropout => widths.push(now),
        _ => {}
    });
    widths
}

/// Running mean and variance of each batch norm, first to last.
#[derive(Debug, Clone)]
pub(crate) struct Running(Vec<[Vec<f32>; 2]>);

impl Running {
    /// Share of a new batch, as in PyTorch.
    const MOMENTUM: f32 = 0.1;

    /// Mean 0 and variance 1.
    pub(crate) fn new(layers: &[Layer]) -> Self {
        let mut found = Vec::new();
        each(layers, &mut |layer| {
            if let &Layer::BatchNorm { width } = layer {
                found.push([vec![0.0; width], vec![1.0; width]]);
            }
        });
        Running(found)
    }

    /// Takes in the mean and the variance of a batch, of each batch norm.
    pub(crate) fn add(&mut self, batch: Vec<[Vec<f32>; 2]>) {
        for (running, batch) in self.0.iter_mut().zip(batch) {
            for (running, batch) in running.iter_mut().zip(batch) {
                for (running, batch) in running.iter_mut().zip(batch) {
                    *running += Self::MOMENTUM * (batch - *running);
                }
            }
        }
    }

    /// The weights of the operators: w / √(v + ε) and b − m w / √(v + ε) for batch norm.
    pub(crate) fn folded(&self, layers: &[Layer], weights: &[RouterLayer]) -> Vec<RouterLayer> {
        let mut folded = weights.to_vec();
        let (mut at, mut norm) = (0, 0);
        each(layers, &mut |layer| match layer {
            Layer::BatchNorm { .. } => {
                if let (Some(layer), Some([mean, variance])) =
                    (folded.get_mut(at), self.0.get(norm))
                {
                    let RouterLayer { weight, bias } = layer;
                    for (i, (w, b)) in weight.iter_mut().zip(bias).enumerate() {
                        *w /= (variance[i] + EPSILON).sqrt();
                        *b -= mean[i] * *w;
                    }
                }
                (at, norm) = (at + 1, norm + 1);
            }
            Layer::Linear { .. } | Layer::Affine { .. } | Layer::LayerNorm { .. } => at += 1,
            Layer::Gru { .. } => at += 2,
            Layer::Activation(_) | Layer::Dropout | Layer::Residual(_) => {}
        });
        folded
    }
}
