//! A policy that knows both grades.

use tokenroute_core::{Piece, QuestionCurve, Score, ScoreError};

use super::{QueryPolicy, QuestionFacts, decided, ends};
use crate::policies::PolicyKind;

/// Offloaded tokens at which the oracle's score has come half way. It orders gains by their
/// price and changes nothing else.
const HALF_WAY: f64 = 100.0;

/// Knows both grades.
#[derive(Debug, Clone, Copy)]
pub struct QueryOracle;

impl QueryPolicy for QueryOracle {
    const NAME: &'static str = "query-oracle";
    const KIND: PolicyKind = PolicyKind::Oracle;
    const TAKES: &'static str =
        "where the LLM alone is right, fewest tokens first; it knows both grades";

    fn curve(
        _: u64,
        curve: &QuestionCurve,
        _: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError> {
        oracle(&curve.question, ends(curve)).map(Some)
    }
}

/// Knows both grades. Questions that the other answer wins come first, cheapest gain first:
/// below τ = ½. Those that gain nothing follow, and those that lose come last.
///
/// # Errors
/// Never; a count is a number.
pub fn oracle(question: &str, [slm, other]: [Piece; 2]) -> Result<QuestionCurve, ScoreError> {
    let tokens = f64::from(other.offloaded);
    let order = tokens / (tokens + HALF_WAY);
    let score = match (slm.correct, other.correct) {
        (false, true) => 0.5 * order,
        (true, false) => 0.75 + 0.25 * order,
        _ => 0.5 + 0.25 * order,
    };
    Ok(decided(question, [slm, other], Score::new(score)?))
}
