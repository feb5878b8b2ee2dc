//! Handoff of whole answers: the LLM answers anew once the router's score falls below τ.

use tokenroute_core::{QuestionCurve, ScoreError};

use super::{QueryPolicy, QuestionFacts, scored};
use crate::policies::PolicyKind;

/// The lowest of the router's scores along the SLM's own answer decides. It is where the router's
/// curve leaves that answer, so the policy is exact without more decoding.
#[derive(Debug, Clone, Copy)]
pub struct HandoffWhole;

impl QueryPolicy for HandoffWhole {
    const NAME: &'static str = "handoff-whole";
    const KIND: PolicyKind = PolicyKind::QueryLevel;
    const TAKES: &'static str = "where the lowest of the router's scores along the SLM's own answer \
        is low; the SLM's tokens until then are discarded, which is a cost";
    const NAMED: bool = true;

    fn curve(
        _: u64,
        curve: &QuestionCurve,
        _: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError> {
        let own = curve.pieces.iter().take_while(|piece| piece.offloaded == 0);
        scored(curve, own.last().map(|piece| piece.end))
    }
}
