//! The router against other policies: paired differences, p-values, and Holm's correction
//! over one family of tests.

use serde::{Deserialize, Serialize};

use crate::bootstrap::interval;

/// z.975 + z.8: a test at 5%, two-sided, finds a true difference of this many standard errors
/// with a probability of 80%.
const DETECTED: f64 = 1.959_964 + 0.841_621;

/// A paired difference and its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Measured on all questions.
    pub value: f64,
    /// 95% bootstrap interval.
    pub interval: [f64; 2],
}

impl Difference {
    /// A difference and its value in every resample; `None` without resamples.
    pub(super) fn of(value: f64, resampled: Vec<f64>) -> Option<Self> {
        Some(Difference { value, interval: interval(resampled)? })
    }
}

/// A paired difference that may belong to the family of tests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// Standard deviation of the difference over the resamples.
    pub standard_error: f64,
    /// Detectable difference: the true difference that a two-sided test at 5% finds with a
    /// probability of 80%, (z.975 + z.8) standard errors. Before Holm's correction.
    pub detectable: f64,
    /// Two-sided p-value; `None` outside the family.
    pub p: Option<f64>,
    /// The p-value under Holm's correction over the family.
    pub holm_p: Option<f64>,
}

impl Comparison {
    /// Compares the difference with its value in every resample. `resamples` counts those
    /// without a value too.
    pub(super) fn of(
        value: f64,
        resampled: Vec<f64>,
        resamples: usize,
        tested: bool,
    ) -> Option<Self> {
        let p = tested.then(|| p_value(value, &resampled, resamples));
        let standard_error = standard_deviation(&resampled);
        Some(Comparison {
            difference: Difference::of(value, resampled)?,
            standard_error,
            detectable: DETECTED * standard_error,
            p,
            holm_p: None,
        })
    }
}

/// p = (1 + k)/(B + 1) over B resamples (Davison & Hinkley 1997, §4.2.5). k counts those whose
/// difference lies as far from the measured one as that lies from 0, on either side: had there
/// been no difference, chance would have given as much. Resamples without a value count as well.
fn p_value(value: f64, resampled: &[f64], resamples: usize) -> f64 {
    let near = resampled.iter().filter(|&&d| (d - value).abs() < value.abs()).count();
    (1 + resamples - near) as f64 / (resamples + 1) as f64
}

/// Holm's step-down p-values (Holm 1979), in the order of `p`: the chance of one false claim
/// or more in the family stays below any level they are read at.
pub(super) fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut greatest = 0.0f64;
    for (rank, &i) in order.iter().enumerate() {
        greatest = greatest.max((p.len() - rank) as f64 * p[i]).min(1.0);
        adjusted[i] = greatest;
    }
    adjusted
}

fn standard_deviation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (squares / (count - 1.0).max(1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holm_as_worked_by_hand() {
        // The example of R's p.adjust and of many a textbook.
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        assert_eq!(holm(&[0.6, 0.9]), [1.0, 1.0]);
        assert_eq!(holm(&[0.2]), [0.2]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn p_counts_the_resamples_as_far_away_as_zero() {
        // Of nine resamples of a difference of 2, three are off by 2 or more.
        let resampled = [2.0, 1.5, 2.5, 3.9, 0.1, 1.0, 4.0, -0.5, 0.0];
        assert_eq!(p_value(2.0, &resampled, 9), 0.4);
        // One more, without a value, counts against the difference.
        assert_eq!(p_value(2.0, &resampled, 10), 5.0 / 11.0);
        assert_eq!(p_value(-2.0, &resampled.map(|d| -d), 9), 0.4, "two-sided");
        assert_eq!(p_value(0.0, &[0.0; 99], 99), 1.0, "no difference");
        assert_eq!(p_value(0.3, &[0.3; 99], 99), 0.01, "no less than 1/(B + 1)");
    }

    #[test]
    fn the_detectable_difference_is_a_multiple_of_the_standard_error() {
        let resampled: Vec<f64> = (0..1000).map(|i| f64::from(i % 2)).collect();
        let compared = Comparison::of(0.5, resampled, 1000, false).expect("resamples");
        assert!((compared.standard_error - 0.5).abs() < 1e-3);
        assert!((compared.detectable - 2.801_585 * compared.standard_error).abs() < 1e-9);
        assert_eq!((compared.p, compared.holm_p), (None, None));
        assert_eq!(Comparison::of(0.5, Vec::new(), 10, true), None);
    }
}
