//! Normalises features by their weighted mean and deviation over the training rows.

use tokenroute_core::Normalisation;

use super::Rows;

/// Least standard deviation to divide a feature by, so that a constant feature does no
/// harm.
const STD_FLOOR: f64 = 1e-4;

/// Weighted mean and 1 / standard deviation of each feature.
pub(super) fn normalisation(rows: &Rows, width: usize) -> Normalisation {
    let total: f64 = rows.weights.iter().map(|&w| f64::from(w)).sum();
    let weighed =
        || rows.features.chunks_exact(width).zip(rows.weights.iter().map(|&w| f64::from(w)));
    let mut mean = vec![0f64; width];
    for (row, weight) in weighed() {
        for (m, &x) in mean.iter_mut().zip(row) {
            *m += weight * f64::from(x) / total;
        }
    }
    let mut variance = vec![0f64; width];
    for (row, weight) in weighed() {
        for ((v, &x), m) in variance.iter_mut().zip(row).zip(&mean) {
            *v += weight * (f64::from(x) - m).powi(2) / total;
        }
    }
    Normalisation {
        mean: mean.iter().map(|&m| m as f32).collect(),
        scale: variance.iter().map(|v| (1.0 / v.sqrt().max(STD_FLOOR)) as f32).collect(),
    }
}

/// (x − mean) · scale, in place.
pub(super) fn normalise(by: &Normalisation, features: &mut [f32]) {
    for row in features.chunks_exact_mut(by.mean.len()) {
        for ((x, m), s) in row.iter_mut().zip(&by.mean).zip(&by.scale) {
            *x = (*x - m) * s;
        }
    }
}
