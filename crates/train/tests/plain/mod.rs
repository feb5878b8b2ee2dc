//! An independent computation of a router's logit.

use tokenroute_core::{Activation, Architecture};
use tokenroute_store::RouterFile;

/// A router's logit in f64, computed from the file format's definition alone.
pub fn logit(router: &RouterFile, features: &[f32]) -> f64 {
    let norm = &router.header.normalisation;
    let mut x: Vec<f64> = features
        .iter()
        .zip(&norm.mean)
        .zip(&norm.scale)
        .map(|((&x, &m), &s)| f64::from((x - m) * s))
        .collect();
    for (i, layer) in router.layers.iter().enumerate() {
        if i > 0 {
            x.iter_mut().for_each(|x| *x = activate(&router.header.architecture, *x));
        }
        x = layer
            .weight
            .chunks_exact(x.len())
            .zip(&layer.bias)
            .map(|(w, &b)| {
                f64::from(b) + w.iter().zip(&x).map(|(&w, x)| f64::from(w) * x).sum::<f64>()
            })
            .collect();
    }
    if x.len() == 2 { x[0] - x[1] } else { x[0] }
}

fn activate(architecture: &Architecture, x: f64) -> f64 {
    let Architecture::Mlp { activation, .. } = architecture else { return x };
    match activation {
        Activation::Relu => x.max(0.0),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
    }
}

/// The error function by its Maclaurin series, good to 1e-9 for |x| < 4.
fn erf(x: f64) -> f64 {
    if x.abs() >= 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..80 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    2.0 / std::f64::consts::PI.sqrt() * sum
}
