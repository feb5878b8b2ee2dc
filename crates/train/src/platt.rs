//! Platt scaling: turns logits into probabilities. Newton's method with step halving (Platt
//! 1999; Lin, Lin and Weng 2007).

use tokenroute_core::Platt;

use crate::TrainError;

/// Most Newton steps. About ten are needed.
const STEPS: usize = 100;
/// Added to the Hessian's diagonal.
const RIDGE: f64 = 1e-12;

/// Fits score = σ(scale · logit + bias) to targets in [0, 1] by maximum likelihood. As in
/// Platt (1999), targets are mapped from [0, 1] to [1 / (N₋ + 2), (N₊ + 1) / (N₊ + 2)] with
/// N₊ = Σ w y and N₋ = Σ w (1 − y), so that separable data gets a finite scale. A row
/// counts as its weight w.
///
/// # Errors
/// Targets that are all 0 or all 1, or logits that are not finite numbers.
pub fn fit_platt(logits: &[f32], targets: &[f32], weights: &[f32]) -> Result<Platt, TrainError> {
    let all: f64 = weights.iter().map(|&w| f64::from(w)).sum();
    let positive: f64 =
        targets.iter().zip(weights).map(|(&y, &w)| f64::from(y) * f64::from(w)).sum();
    let negative = all - positive;
    if positive <= 0.0 || negative <= 0.0 {
        let kept = if negative <= 0.0 { "kept" } else { "offloaded" };
        return Err(TrainError::OneClass { part: "calibration", rows: targets.len(), kept });
    }
    let (low, high) = (1.0 / (negative + 2.0), (positive + 1.0) / (positive + 2.0));
    let points: Vec<(f64, f64, f64)> = logits
        .iter()
        .zip(targets.iter().zip(weights))
        .map(|(&f, (&y, &w))| (f64::from(f), low + f64::from(y) * (high - low), f64::from(w)))
        .collect();
    let loss = |a: f64, b: f64| -> f64 {
        points.iter().map(|&(f, t, w)| w * cross_entropy(a * f + b, t)).sum()
    };

    let (mut a, mut b) = (0.0, ((positive + 1.0) / (negative + 1.0)).ln());
    let mut now = loss(a, b);
    if !now.is_finite() || points.iter().any(|p| !p.0.is_finite()) {
        return Err(TrainError::Backend("a calibration logit is not a finite number".to_owned()));
    }
    for _ in 0..STEPS {
        // Gradient and Hessian of the summed cross-entropy in (a, b).
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, RIDGE, 0.0, RIDGE);
        for &(f, t, w) in &points {
            let p = sigmoid(a * f + b);
            let (d, h) = (w * (p - t), w * p * (1.0 - p));
            ga += d * f;
            gb += d;
            haa += h * f * f;
            hab += h * f;
            hbb += h;
        }
        if ga.abs() < 1e-9 && gb.abs() < 1e-9 {
            break;
        }
        let det = haa * hbb - hab * hab;
        let (da, db) = ((hab * gb - hbb * ga) / det, (hab * ga - haa * gb) / det);
        let slope = ga * da + gb * db;
        let mut step = 1.0;
        let moved = loop {
            let next = loss(a + step * da, b + step * db);
            if next < now + 1e-4 * step * slope {
                break Some(next);
            }
            step *= 0.5;
            if step < 1e-10 {
                break None;
            }
        };
        // No step lowers the loss: this is the minimum, up to rounding.
        let Some(next) = moved else { break };
        (a, b, now) = (a + step * da, b + step * db, next);
    }
    Ok(Platt { scale: a as f32, bias: b as f32 })
}

/// Cross-entropy of a logit against a soft target, without overflow.
pub(crate) fn cross_entropy(logit: f64, target: f64) -> f64 {
    logit.max(0.0) - logit * target + (-logit.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_logits_are_solved_in_closed_form() {
        // At f = −1: 1 of 4 kept, at f = 1: 3 of 4. N₊ = N₋ = 4, so targets are
        // 1/6 and 5/6 and the mean targets 1/3 and 2/3: scale = ln 2, bias = 0.
        let logits = [-1.0, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0];
        let targets = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0];
        let platt = fit_platt(&logits, &targets, &vec![1.0; logits.len()]).expect("both classes");
        assert!((platt.scale - std::f32::consts::LN_2).abs() < 1e-5, "{platt:?}");
        assert!(platt.bias.abs() < 1e-5, "{platt:?}");
    }

    #[test]
    fn a_shifted_and_stretched_logit_is_undone() {
        // Soft targets σ(f) seen through logits 2 f + 3: scale 1/2, bias −3/2.
        let f: Vec<f32> = (-4000..4000).map(|i| i as f32 / 2000.0).collect();
        let targets: Vec<f32> = f.iter().map(|&f| 1.0 / (1.0 + (-f).exp())).collect();
        let logits: Vec<f32> = f.iter().map(|f| 2.0 * f + 3.0).collect();
        let platt = fit_platt(&logits, &targets, &vec![1.0; logits.len()]).expect("both classes");
        assert!((platt.scale - 0.5).abs() < 2e-3 && (platt.bias + 1.5).abs() < 5e-3, "{platt:?}");
    }

    #[test]
    fn separable_and_constant_logits_stay_finite() {
        let platt = fit_platt(&[-50.0, -60.0, 50.0, 80.0], &[0.0, 0.0, 1.0, 1.0], &[1.0; 4]);
        assert!(platt.is_ok_and(|p| p.scale.is_finite() && p.scale > 0.0));
        let platt = fit_platt(&[2.0; 4], &[0.0, 1.0, 1.0, 1.0], &[1.0; 4]).expect("both classes");
        let p = sigmoid(f64::from(platt.scale) * 2.0 + f64::from(platt.bias));
        // The mean of the softened targets, three of 4/5 and one of 1/3.
        assert!((p - (3.0 * 0.8 + 1.0 / 3.0) / 4.0).abs() < 1e-3, "{p}");
    }

    #[test]
    fn one_class_is_an_error_that_says_so() {
        let error = fit_platt(&[0.1, 0.2], &[1.0, 1.0], &[1.0; 2]).expect_err("no divergent row");
        assert!(error.to_string().contains("all 2 calibration rows should be kept"), "{error}");
    }
}
