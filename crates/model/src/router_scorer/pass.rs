//! A pass over a router's head: its operators, one after another, on the decoder's row-stable layers.

use std::slice;
use std::sync::Arc;

use tokenroute_core::{Activation, Operator, WeightKind, WeightShape};
use tokenroute_kernels::{Activations, Format, Pool, QuantMatrix};

use crate::LoadError;
use crate::decoder::{Linear, Matrix};

/// Weights from which a layer is held in 8 bits. Reading so large a layer dominates the cost
/// of a score, and every token needs one.
const LARGE: usize = 1 << 20;

/// The weights of an operator.
#[derive(Debug)]
pub(super) enum Weights {
    Linear(Matrix),
    Scale { weight: Vec<f32>, bias: Vec<f32> },
    Table { rows: Vec<f32>, width: usize },
}

impl Weights {
    pub(super) fn new(
        pool: &Arc<Pool>,
        shape: &WeightShape,
        full_precision: bool,
        weight: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<Self, LoadError> {
        let (outputs, inputs) = match (shape.kind, &shape.weight[..]) {
            (WeightKind::Linear, &[outputs, inputs]) => (outputs, inputs),
            (WeightKind::Table, &[_, width]) => return Ok(Weights::Table { rows: weight, width }),
            _ => return Ok(Weights::Scale { weight, bias }),
        };
        Ok(Weights::Linear(if full_precision || inputs * outputs < LARGE {
            Matrix::Plain(Linear::new(inputs, outputs, &weight, Some(&bias)))
        } else {
            let weights = QuantMatrix::from_f32(pool, Format::Q8_0, outputs, inputs, &weight)?;
            Matrix::Quantised { weights, bias }
        }))
    }
}

/// One pass over a head.
pub(super) struct Run<'r> {
    pub(super) pool: &'r Pool,
    /// Those that are not used yet.
    pub(super) weights: slice::Iter<'r, Weights>,
    pub(super) buffer: Activations,
    /// The states of the recurrent units before this step. Empty at an answer's begin.
    pub(super) before: &'r [Vec<f32>],
    /// Those after it, as far as they are computed.
    pub(super) after: Vec<Vec<f32>>,
}

impl Run<'_> {
    /// Applies operators to `x`. `None` if their weights do not fit, which the header's check
    /// rules out.
    pub(super) fn operators(&mut self, operators: &[Operator], x: &mut Vec<f32>) -> Option<()> {
        for operator in operators {
            match operator {
                Operator::Linear { .. } => *x = self.linear(x)?,
                Operator::Affine { .. } => self.scale(x)?,
                Operator::LayerNorm { .. } => {
                    normalise(x);
                    self.scale(x)?;
                }
                Operator::Activation { activation } => activate(*activation, x),
                Operator::Softmax => softmax(x),
                Operator::Residual { operators, skip } => {
                    let mut kept = x.clone();
                    self.operators(skip, &mut kept)?;
                    self.operators(operators, x)?;
                    x.iter_mut().zip(kept).for_each(|(x, kept)| *x += kept);
                }
                Operator::Embedding { .. } => {
                    let Weights::Table { rows, width } = self.weights.next()? else { return None };
                    let &[id] = x.as_slice() else { return None };
                    // A number that is no row of the table has no score.
                    let row = Some(id as usize).filter(|&row| row as f32 == id)?;
                    *x = rows.chunks_exact(*width).nth(row)?.to_vec();
                }
                Operator::Gru { width, .. } => {
                    let unit = self.after.len();
                    let mut state =
                        self.before.get(unit).cloned().unwrap_or_else(|| vec![0.0; *width]);
                    let (input, recurrent) = (self.linear(x)?, self.linear(&state)?);
                    gru(&input, &recurrent, &mut state);
                    x.clone_from(&state);
                    self.after.push(state);
                }
                Operator::Parts { parts } => {
                    let (mut rest, mut joined) = (x.as_slice(), Vec::new());
                    for part in parts {
                        let (now, later) = rest.split_at_checked(part.inputs)?;
                        let mut now = now.to_vec();
                        self.operators(&part.operators, &mut now)?;
                        joined.extend(now);
                        rest = later;
                    }
                    *x = joined;
                }
            }
        }
        Some(())
    }

    /// W · x + b, with the next weights.
    fn linear(&mut self, x: &[f32]) -> Option<Vec<f32>> {
        let Weights::Linear(matrix) = self.weights.next()? else { return None };
        let mut y = vec![0.0; matrix.outputs()];
        matrix.apply(self.pool, &mut self.buffer, x, &mut y).ok()?;
        Some(y)
    }

    /// w · x + b, with the next weights.
    fn scale(&mut self, x: &mut [f32]) -> Option<()> {
        let Weights::Scale { weight, bias } = self.weights.next()? else { return None };
        for (x, (w, b)) in x.iter_mut().zip(weight.iter().zip(bias)) {
            *x = *x * w + b;
        }
        Some(())
    }
}

/// (x − mean) / √(variance + 1e-5).
fn normalise(x: &mut [f32]) {
    let count = x.len().max(1) as f64;
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + 1e-5).sqrt();
    for x in x {
        *x = ((f64::from(*x) - mean) * scale) as f32;
    }
}

/// A step of a recurrent unit. `input` is W x + b and `recurrent` U h + c, `[3 width]` each in the
/// order r, z, n.
fn gru(input: &[f32], recurrent: &[f32], state: &mut [f32]) {
    let width = state.len();
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    for (i, h) in state.iter_mut().enumerate() {
        let [reset, update, new] = [i, width + i, 2 * width + i];
        let r = sigmoid(input[reset] + recurrent[reset]);
        let z = sigmoid(input[update] + recurrent[update]);
        let n = (input[new] + r * recurrent[new]).tanh();
        *h = (1.0 - z) * n + z * *h;
    }
}

fn softmax(x: &mut [f32]) {
    let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    x.iter_mut().for_each(|x| *x = (*x - most).exp());
    let total: f32 = x.iter().sum();
    x.iter_mut().for_each(|x| *x /= total);
}

fn activate(activation: Activation, x: &mut [f32]) {
    let f: fn(f32) -> f32 = match activation {
        Activation::Relu => |x| if x < 0.0 { 0.0 } else { x },
        Activation::Gelu => |x| {
            0.5 * x * (1.0 + candle_core::cpu::erf::erf_f32(x * std::f32::consts::FRAC_1_SQRT_2))
        },
        Activation::Silu => |x| x / (1.0 + (-x).exp()),
    };
    for x in x {
        *x = f(*x);
    }
}
