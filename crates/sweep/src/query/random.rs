//! A mix of both answers by chance.

use tokenroute_core::{QuestionCurve, ScoreError, unit_hash};

use super::{QueryPolicy, QuestionFacts, scored};
use crate::policies::PolicyKind;

/// A mix of both answers by chance: the score is a hash of the seed and the question.
#[derive(Debug, Clone, Copy)]
pub struct QueryRandom;

impl QueryPolicy for QueryRandom {
    const NAME: &'static str = "query-random";
    const KIND: PolicyKind = PolicyKind::QueryLevel;
    const TAKES: &'static str = "by chance";

    fn curve(
        seed: u64,
        curve: &QuestionCurve,
        _: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError> {
        scored(curve, Some(unit_hash(seed, &curve.question, usize::MAX)))
    }
}
