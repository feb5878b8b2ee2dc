//! The SLM answers first; the LLM answers again where that answer is uncertain.

use tokenroute_core::{QuestionCurve, ScoreError};

use super::{Fact, QueryPolicy, QuestionFacts, scored};
use crate::policies::PolicyKind;

/// The mean entropy of the SLM's answer decides whether the LLM answers again (a cascade by
/// token-level uncertainty, as in arXiv 2404.10136).
#[derive(Debug, Clone, Copy)]
pub struct QueryCascade;

impl QueryPolicy for QueryCascade {
    const NAME: &'static str = "query-cascade";
    const KIND: PolicyKind = PolicyKind::QueryLevel;
    const TAKES: &'static str = "where the mean entropy of the SLM's own answer is high; the \
        SLM's answer is then discarded, which is a cost. Cascades by token-level uncertainty: \
        arXiv 2404.10136";
    const FACT: Option<Fact> = Some(Fact::Certainty);

    fn curve(
        _: u64,
        curve: &QuestionCurve,
        facts: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError> {
        scored(curve, facts.and_then(|facts| facts.certainty))
    }
}
