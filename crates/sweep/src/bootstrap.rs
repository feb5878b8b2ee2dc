//! Bootstrap over questions. One set of weights serves all policies, so that their
//! differences are paired. Intervals are percentiles (Efron & Tibshirani 1993, §13).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Resamples of a set of questions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bootstrap {
    weights: Vec<Vec<u32>>,
}

impl Bootstrap {
    /// Draws `resamples` samples of `questions` questions each, with replacement.
    #[must_use]
    pub fn new(questions: usize, resamples: usize, seed: u64) -> Self {
        Self::on_stream(questions, resamples, seed, 0)
    }

    /// The same on another stream of random numbers. Samples of two streams are independent,
    /// as those of two sets of questions must be.
    #[must_use]
    pub fn on_stream(questions: usize, resamples: usize, seed: u64, stream: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        let weights = (0..resamples)
            .map(|_| {
                let mut weights = vec![0; questions];
                for _ in 0..questions {
                    weights[random.random_range(0..questions)] += 1;
                }
                weights
            })
            .collect();
        Bootstrap { weights }
    }

    /// The count of each question in each sample, `[resamples][questions]`.
    #[must_use]
    pub fn weights(&self) -> &[Vec<u32>] {
        &self.weights
    }
}

/// The 95% percentile interval, linear between order statistics; `None` without
/// values.
#[must_use]
pub fn interval(mut values: Vec<f64>) -> Option<[f64; 2]> {
    let last = values.len().checked_sub(1)?;
    Some([0.025, 0.975].map(|share| {
        let at = share * last as f64;
        let below = at.floor() as usize;
        let (_, &mut low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
        let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
        low + (at - below as f64) * (high - low)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resamples_are_seeded_and_as_large_as_the_sample() {
        let one = Bootstrap::new(50, 20, 7);
        assert_eq!(one, Bootstrap::new(50, 20, 7));
        assert_ne!(one, Bootstrap::new(50, 20, 8));
        assert_ne!(one, Bootstrap::on_stream(50, 20, 7, 1));
        assert_eq!(one.weights().len(), 20);
        assert!(one.weights().iter().all(|w| w.iter().sum::<u32>() == 50));
        assert!(Bootstrap::new(0, 2, 7).weights().iter().all(Vec::is_empty));
    }

    #[test]
    fn samples_of_two_streams_are_independent() {
        let means = |stream| -> Vec<f64> {
            let bootstrap = Bootstrap::on_stream(40, 4000, 3, stream);
            let mean = |w: &Vec<u32>| w.iter().zip(0u32..).map(|(&w, x)| f64::from(w * x)).sum();
            let means: Vec<f64> = bootstrap.weights().iter().map(mean).collect();
            let middle = means.iter().sum::<f64>() / means.len() as f64;
            means.into_iter().map(|m| m - middle).collect()
        };
        let (a, b) = (means(0), means(1));
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let correlation = product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt();
        // The standard error of a correlation of 4,000 pairs is .016.
        assert!(correlation.abs() < 0.05, "{correlation}");
    }

    #[test]
    fn an_interval_leaves_a_fortieth_on_either_side() {
        let [low, high] = interval((0..=1000).rev().map(f64::from).collect()).expect("values");
        assert!((low - 25.0).abs() < 1e-9 && (high - 975.0).abs() < 1e-9);
        assert_eq!(interval(vec![2.0]), Some([2.0, 2.0]));
        assert_eq!(interval(Vec::new()), None);
    }

    #[test]
    fn a_mean_has_the_interval_of_its_standard_error() {
        // 400 coins, half of them heads: standard error .025.
        let heads: Vec<f64> = (0..400u32).map(|i| f64::from(i % 2)).collect();
        let means = Bootstrap::new(400, 2000, 1)
            .weights()
            .iter()
            .map(|w| heads.iter().zip(w).map(|(h, &w)| h * f64::from(w)).sum::<f64>() / 400.0)
            .collect();
        let [low, high] = interval(means).expect("values");
        assert!((low - 0.451).abs() < 0.006 && (high - 0.549).abs() < 0.006, "{low} {high}");
    }
}
