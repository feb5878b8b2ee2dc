//! A τ whose accuracy is guaranteed with a stated confidence: fixed-sequence testing from
//! τ = 1 downwards (Learn then Test, Angelopoulos et al., arXiv 2110.01052 §4).
//!
//! Every τ is a hypothesis, "accuracy at τ is too low". They are tested in an order fixed
//! beforehand, and testing stops at the first that is not rejected. So no correction for
//! their number is due. It holds for questions drawn like those of the curve.

use tokenroute_core::{Curve, Tau};

use crate::binomial::lower_bound;

/// No τ passes, not even τ = 1.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error(
    "an accuracy of {wanted} cannot be guaranteed with confidence {confidence} on {questions} questions: the LLM alone answers {llm:.4} of them right, which guarantees at most {greatest:.4}"
)]
pub struct NoGuarantee {
    /// The accuracy asked for.
    pub wanted: f64,
    /// The confidence asked for.
    pub confidence: f64,
    /// Number of questions.
    pub questions: u64,
    /// Accuracy of the LLM alone.
    pub llm: f64,
    /// The greatest accuracy that can be guaranteed: the lower bound at τ = 1.
    pub greatest: f64,
}

/// Tests every τ from 1 downwards, with one exact lower bound a step, and returns the smallest
/// reached before the first failure. `curve` is of the questions that τ is chosen on.
///
/// `accuracy` alone is guaranteed there. The bound at the τ returned may be higher, and is no
/// guarantee, since the answers have chosen that τ.
///
/// # Errors
/// τ = 1 fails already.
pub fn guarantee(curve: &Curve, accuracy: f64, confidence: f64) -> Result<Tau, NoGuarantee> {
    let questions = curve.questions;
    let bound = |right: u64| lower_bound(right, questions, confidence);
    // The bound rises with the number of right answers: one number decides every step.
    let (mut too_few, mut enough) = (0, questions + 1);
    while too_few < enough {
        let middle = u64::midpoint(too_few, enough);
        if middle <= questions && bound(middle) < accuracy {
            too_few = middle + 1;
        } else {
            enough = middle;
        }
    }
    let passed = curve.points.iter().rev().take_while(|p| p.correct >= enough).count();
    let first = curve.points.len() - passed;
    let Some(reached) = curve.points.get(first) else {
        let last = curve.at(Tau::LLM_ONLY);
        return Err(NoGuarantee {
            wanted: accuracy,
            confidence,
            questions,
            llm: curve.accuracy(&last),
            greatest: bound(last.correct),
        });
    };
    // The first piece holds at τ = 0 too.
    Ok(if first == 0 { Tau::SLM_ONLY } else { Tau::new(reached.end).unwrap_or(Tau::LLM_ONLY) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenroute_core::{CurvePoint, unit_hash};

    /// Pieces that end at τ = .125, .25 and so on, the last at 1.
    fn curve(questions: u64, right: &[u64]) -> Curve {
        let ends = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875];
        let mut points: Vec<CurvePoint> = right
            .iter()
            .zip(ends.into_iter().chain([1.0]))
            .map(|(&correct, end)| CurvePoint {
                end,
                correct,
                cut: 0,
                offloaded: 0,
                generated: 100,
                llm_positions: 0,
            })
            .collect();
        if let Some(last) = points.last_mut() {
            last.end = 1.0;
        }
        Curve { questions, points }
    }

    #[test]
    fn testing_stops_at_the_first_failure() {
        // Of 100 answers 96 must be right for a lower bound of .9 at 95%.
        assert!(lower_bound(96, 100, 0.95) >= 0.9 && lower_bound(95, 100, 0.95) < 0.9);
        // The second piece would pass, and is not reached behind the third.
        let c = curve(100, &[60, 98, 95, 96, 97]);
        let found = guarantee(&c, 0.9, 0.95).expect("τ = 1 passes");
        assert_eq!(found.to_string(), "0.5");
        // With less asked, the first piece is reached, and with it τ = 0.
        assert_eq!(guarantee(&c, 0.5, 0.95), Ok(Tau::SLM_ONLY));
    }

    #[test]
    fn without_a_guarantee_the_greatest_is_named() {
        let refused = guarantee(&curve(100, &[60, 98, 94]), 0.9, 0.95).expect_err("too high");
        assert_eq!(refused.greatest, lower_bound(94, 100, 0.95));
        let text = refused.to_string();
        assert!(text.contains("at most 0.88") && text.contains("100 questions"), "{text}");
        // What is named can be had.
        assert!(guarantee(&curve(100, &[60, 98, 94]), refused.greatest, 0.95).is_ok());
        assert!(guarantee(&curve(0, &[0]), 0.1, 0.95).is_err(), "no questions");
    }

    #[test]
    fn the_guarantee_holds_as_often_as_it_says() {
        // True accuracy rises from .6 to .95 in 8 steps of τ. Each question has its own
        // difficulty, so that steps are dependent as on real curves.
        let truth: Vec<f64> = (0..8u8).map(|i| 0.6 + 0.05 * f64::from(i)).collect();
        let (mut broken, rounds) = (0, 2000);
        for round in 0..rounds {
            let right: Vec<u64> = truth
                .iter()
                .map(|&t| (0..150).filter(|&q| unit_hash(round, "q", q) < t).count() as u64)
                .collect();
            let c = curve(150, &right);
            if let Ok(found) = guarantee(&c, 0.8501, 0.9) {
                let piece = c.points.partition_point(|p| p.end < found.get());
                broken += usize::from(truth[piece] < 0.8501);
            }
        }
        assert!(broken as f64 <= 0.12 * rounds as f64, "{broken} of {rounds}");
        assert!(broken as f64 >= 0.03 * rounds as f64, "{broken}: it tests nothing");
    }
}
