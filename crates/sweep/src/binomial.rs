//! Exact intervals of a share of right answers (Clopper & Pearson 1934): the only ones that
//! say something where all answers are right, or none.

use statrs::function::beta::inv_beta_reg;

/// The exact two-sided interval of a share at this confidence, from `right` of `questions`
/// answers. [0, 1] without questions.
#[must_use]
pub fn clopper_pearson(right: u64, questions: u64, confidence: f64) -> [f64; 2] {
    let tail = (1.0 - confidence) / 2.0;
    let wrong = questions.saturating_sub(right);
    [lower_bound_at(right, wrong, tail), 1.0 - lower_bound_at(wrong, right, tail)]
}

/// The exact one-sided lower bound of a share: at this confidence the share is no lower.
#[must_use]
pub fn lower_bound(right: u64, questions: u64, confidence: f64) -> f64 {
    lower_bound_at(right, questions.saturating_sub(right), 1.0 - confidence)
}

/// The share at which `right` or more right answers have the probability `tail`.
fn lower_bound_at(right: u64, wrong: u64, tail: f64) -> f64 {
    if right == 0 {
        return 0.0;
    }
    if wrong == 0 {
        // Beta(n, 1) has the distribution function xⁿ.
        return tail.powf(1.0 / right as f64);
    }
    inv_beta_reg(right as f64, wrong as f64 + 1.0, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found}, expected {expected}");
    }

    /// Probability of `right` or more right answers of `questions`, summed term by term.
    fn tail(right: u64, questions: u64, share: f64) -> f64 {
        let ln_factorial = |n: u64| (1..=n).map(|i| (i as f64).ln()).sum::<f64>();
        (right..=questions)
            .map(|k| {
                let ways = ln_factorial(questions) - ln_factorial(k) - ln_factorial(questions - k);
                let rest = (questions - k) as f64;
                (ways + k as f64 * share.ln() + rest * (1.0 - share).ln()).exp()
            })
            .sum()
    }

    #[test]
    fn published_intervals() {
        // Newcombe (1998, Statistics in Medicine 17, table I, method 5), to four decimals.
        for (right, of, expected) in [
            (81, 263, [0.2527, 0.3676]),
            (15, 148, [0.0578, 0.1617]),
            (0, 20, [0.0, 0.1684]),
            (1, 29, [0.0009, 0.1776]),
        ] {
            let found = clopper_pearson(right, of, 0.95);
            for (found, expected) in found.into_iter().zip(expected) {
                assert!((found - expected).abs() < 6e-5, "{right} of {of}: {found}, {expected}");
            }
        }
    }

    #[test]
    fn all_and_none() {
        let [low, high] = clopper_pearson(0, 100, 0.95);
        check(low, 0.0);
        check(high, 1.0 - 0.025f64.powf(0.01));
        let [low, high] = clopper_pearson(100, 100, 0.95);
        check(low, 0.025f64.powf(0.01));
        check(high, 1.0);
        check(lower_bound(100, 100, 0.95), 0.05f64.powf(0.01));
        check(lower_bound(0, 100, 0.95), 0.0);
        assert_eq!(clopper_pearson(0, 0, 0.95), [0.0, 1.0]);
    }

    #[test]
    fn at_the_bound_the_tail_has_its_probability() {
        for (right, of) in [(1, 2), (3, 7), (120, 150), (149, 150), (390, 400), (700, 1000)] {
            let bound = lower_bound(right, of, 0.95);
            check(tail(right, of, bound), 0.05);
            let [low, high] = clopper_pearson(right, of, 0.95);
            check(tail(right, of, low), 0.025);
            check(1.0 - tail(right + 1, of, high), 0.025);
        }
    }
}
