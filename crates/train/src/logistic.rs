//! Logistic regression to convergence: full-batch L-BFGS (Liu and Nocedal 1989) on the
//! weighted loss with an L2 penalty. The result depends on no seed and no device.

use std::collections::VecDeque;

use tokenroute_core::Progress;

use crate::loss::{Loss, LossRows};
use crate::{Rows, TrainError};

/// Steps and gradients that the inverse Hessian is approximated from.
const MEMORY: usize = 10;
/// Most steps. Standardised features need some dozens.
pub(crate) const STEPS: u32 = 500;
/// The greatest entry of the gradient at which the fit has converged. The loss is a mean.
const TOLERANCE: f64 = 1e-5;
/// Share of the expected decrease that a step must reach (Armijo).
const DECREASE: f64 = 1e-4;
/// Sums are kept in this many parts, so that they can be vectorised.
const LANES: usize = 16;

/// A linear model: one weight a feature, then the bias.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fit {
    /// `[width + 1]`
    pub parameters: Vec<f64>,
    /// The loss after each step.
    pub losses: Vec<f64>,
}

/// The loss of a linear model: the mean of the rows' losses + ½ Σ λᵢ wᵢ². The bias is not
/// penalised.
pub(crate) struct Objective<'a> {
    /// Features `[rows, width]` of the rows.
    pub rows: &'a Rows,
    /// Number of features.
    pub width: usize,
    /// What the loss reads of each row.
    pub labels: &'a LossRows,
    /// The loss.
    pub loss: &'a dyn Loss,
    /// λ of each feature `[width]`.
    pub l2: Vec<f64>,
}

impl Objective<'_> {
    /// Minimises the loss from `start` `[width + 1]`.
    ///
    /// # Errors
    /// A loss that is not a finite number.
    pub fn minimise(&self, start: Vec<f64>, progress: &dyn Progress) -> Result<Fit, TrainError> {
        let mut at = start;
        let (mut loss, mut gradient) = self.value(&at);
        let mut history: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
        let mut losses = Vec::new();
        while losses.len() < STEPS as usize && greatest(&gradient) > TOLERANCE {
            let direction = descent(&gradient, &history);
            let slope = dot(&gradient, &direction);
            let mut length = 1.0;
            let next = loop {
                let next: Vec<f64> =
                    at.iter().zip(&direction).map(|(x, d)| x + length * d).collect();
                let (value, slopes) = self.value(&next);
                if value <= loss + DECREASE * length * slope {
                    break Some((next, value, slopes));
                }
                length *= 0.5;
                if length < 1e-10 {
                    break None;
                }
            };
            // No step lowers the loss: this is the minimum, up to rounding.
            let Some((next, value, slopes)) = next else { break };
            if history.len() == MEMORY {
                history.pop_front();
            }
            history.extend(Pair::of(difference(&next, &at), difference(&slopes, &gradient)));
            (at, loss, gradient) = (next, value, slopes);
            losses.push(loss);
            progress.advance(1);
        }
        if !loss.is_finite() {
            return Err(TrainError::Backend(format!("the loss of a linear head is {loss}")));
        }
        Ok(Fit { parameters: at, losses })
    }

    /// The loss and its gradient.
    fn value(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let (weights, bias) = parameters.split_at(self.width);
        let single: Vec<f32> = weights.iter().map(|&w| w as f32).collect();
        let n = self.rows.len() as f64;
        let mut gradient: Vec<f64> = weights.iter().zip(&self.l2).map(|(w, l2)| l2 * w).collect();
        let mut loss = 0.5 * dot(weights, &gradient);
        gradient.push(0.0);
        let features = || self.rows.features.chunks_exact(self.width);
        let logits: Vec<f64> = features().map(|x| product(x, &single) + bias[0]).collect();
        for (x, [value, slope]) in features().zip(self.loss.rows(&logits, self.labels)) {
            loss += value / n;
            let slope = slope / n;
            for (g, &x) in gradient.iter_mut().zip(x) {
                *g += slope * f64::from(x);
            }
            gradient[self.width] += slope;
        }
        (loss, gradient)
    }
}

/// A step s, the change y of the gradient along it, and 1 / s·y.
struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    scale: f64,
}

impl Pair {
    /// `None` where the loss has no positive curvature along the step.
    fn of(step: Vec<f64>, change: Vec<f64>) -> Option<Self> {
        let curvature = dot(&step, &change);
        (curvature > 1e-16).then(|| Pair { step, change, scale: 1.0 / curvature })
    }
}

/// −H g by the two-loop recursion. Steepest descent of length at most 1 at first.
fn descent(gradient: &[f64], history: &VecDeque<Pair>) -> Vec<f64> {
    let mut d: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let Some(last) = history.back() else {
        let length = dot(gradient, gradient).sqrt().max(1.0);
        d.iter_mut().for_each(|d| *d /= length);
        return d;
    };
    let mut parts = Vec::with_capacity(history.len());
    for pair in history.iter().rev() {
        let part = pair.scale * dot(&pair.step, &d);
        add(&mut d, -part, &pair.change);
        parts.push(part);
    }
    let scale = 1.0 / (last.scale * dot(&last.change, &last.change));
    d.iter_mut().for_each(|d| *d *= scale);
    for (pair, part) in history.iter().zip(parts.into_iter().rev()) {
        let back = pair.scale * dot(&pair.change, &d);
        add(&mut d, part - back, &pair.step);
    }
    d
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(to: &mut [f64], factor: f64, of: &[f64]) {
    to.iter_mut().zip(of).for_each(|(t, o)| *t += factor * o);
}

fn difference(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

fn greatest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most: f64, v| most.max(v.abs()))
}

/// Σ xᵢ wᵢ.
fn product(x: &[f32], w: &[f32]) -> f64 {
    let ((xs, x_rest), (ws, w_rest)) = (x.as_chunks::<LANES>(), w.as_chunks::<LANES>());
    let mut sums = [0f32; LANES];
    for (x, w) in xs.iter().zip(ws) {
        for (sum, (x, w)) in sums.iter_mut().zip(x.iter().zip(w)) {
            *sum += x * w;
        }
    }
    let rest: f32 = x_rest.iter().zip(w_rest).map(|(x, w)| x * w).sum();
    sums.iter().map(|&s| f64::from(s)).sum::<f64>() + f64::from(rest)
}

#[cfg(test)]
mod tests {
    use tokenroute_core::Silent;

    use super::*;
    use crate::loss::{Focal, Preference};

    /// Four features of which the second repeats the first.
    fn rows() -> (Rows, LossRows) {
        let mut rows = Rows::default();
        let mut coefficients = Vec::new();
        for i in 0..600u16 {
            let wave = |rate: f32| (f32::from(i) * rate).sin();
            let (a, b, c) = (wave(0.7), wave(1.3), wave(2.9));
            rows.features.extend([a, a, b, c]);
            let keep = f32::from(u8::from(a + 0.5 * b + wave(5.1) > -0.4));
            rows.targets.push(keep);
            rows.weights.push(1.0);
            coefficients.push([keep, 3.0 * (1.0 - keep)]);
        }
        let labels = LossRows { coefficients, ..LossRows::default() };
        (rows, labels)
    }

    #[test]
    fn the_gradient_is_that_of_the_loss_and_vanishes_at_the_end() {
        let (rows, labels) = rows();
        let (plain, focal) = (Preference {}, Focal { gamma: 2.0 });
        let cases: [(f64, &dyn Loss); 4] =
            [(0.1, &plain), (1e-3, &plain), (0.0, &plain), (0.01, &focal)];
        for (l2, loss) in cases {
            let l2 = vec![l2; 4];
            let objective = Objective { rows: &rows, width: 4, labels: &labels, loss, l2 };
            let at = [0.3, -0.2, 0.5, 0.1, -0.4];
            let (_, gradient) = objective.value(&at);
            for i in 0..at.len() {
                let beside = |by: f64| {
                    let mut near = at;
                    near[i] += by;
                    objective.value(&near).0
                };
                let slope = (beside(1e-3) - beside(-1e-3)) / 2e-3;
                assert!((slope - gradient[i]).abs() < 1e-4, "{i}: {slope} {}", gradient[i]);
            }
            let fit = objective.minimise(vec![0.0; 5], &Silent).expect("finite");
            let (_, gradient) = objective.value(&fit.parameters);
            assert!(greatest(&gradient) < 2.0 * TOLERANCE, "{gradient:?}");
            assert!(fit.losses.len() < 100, "{}", fit.losses.len());
            assert!(fit.losses.is_sorted_by(|a, b| a >= b), "{:?}", fit.losses);
            // Repeated features share their weight, as the penalty asks.
            assert!((fit.parameters[0] - fit.parameters[1]).abs() < 1e-3, "{fit:?}");
        }
    }

    #[test]
    fn a_constant_penalty_shrinks_the_weights_and_not_the_bias() {
        let (rows, labels) = rows();
        let of = |l2| {
            let (labels, loss, l2) = (&labels, &Preference {}, vec![l2; 4]);
            let objective = Objective { rows: &rows, width: 4, labels, loss, l2 };
            objective.minimise(vec![0.0; 5], &Silent).expect("finite").parameters
        };
        let size = |p: &[f64]| dot(&p[..4], &p[..4]).sqrt();
        let (weak, strong, pressed) = (of(1e-4), of(0.1), of(1e6));
        assert!(size(&weak) > size(&strong) && size(&strong) > size(&pressed));
        // Without weights the bias is the log-odds of the classes' weights.
        let sums = labels
            .coefficients
            .iter()
            .fold([0.0f64; 2], |s, c| [s[0] + f64::from(c[0]), s[1] + f64::from(c[1])]);
        assert!((pressed[4] - (sums[0] / sums[1]).ln()).abs() < 1e-3, "{pressed:?}");
    }
}
