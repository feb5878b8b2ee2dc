//! A logistic head on the SLM's state before the first token.

use tokenroute_core::{QuestionCurve, ScoreError};

use super::{Fact, QueryPolicy, QuestionFacts, scored};
use crate::policies::PolicyKind;

/// A head that expects whether the SLM's answer loses nothing.
#[derive(Debug, Clone, Copy)]
pub struct QueryHead;

impl QueryPolicy for QueryHead {
    const NAME: &'static str = "query-head";
    const KIND: PolicyKind = PolicyKind::QueryLevel;
    const TAKES: &'static str = "where a logistic head expects the SLM to lose, from the SLM's \
        hidden state before the first token. Hybrid LLM (arXiv 2404.14618) decides likewise, but \
        reads the query with an encoder of its own";
    const FACT: Option<Fact> = Some(Fact::Keep);

    fn curve(
        _: u64,
        curve: &QuestionCurve,
        facts: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError> {
        scored(curve, facts.and_then(|facts| facts.keep))
    }
}
