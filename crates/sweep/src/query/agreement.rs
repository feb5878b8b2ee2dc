//! A switcher that expects whether both models give the same answer.

use tokenroute_core::{QuestionCurve, ScoreError};

use super::{Fact, QueryPolicy, QuestionFacts, scored};
use crate::policies::PolicyKind;

/// The agreement switcher of Dual-Model Distillation (arXiv 2410.12165): it is trained on whether
/// both models' answers agree, so it needs no grades. There the switcher is a model of its own
/// that sees the input; here it is [`super::QueryHead`]'s head with other targets.
#[derive(Debug, Clone, Copy)]
pub struct QueryAgreement;

impl QueryPolicy for QueryAgreement {
    const NAME: &'static str = "query-agreement";
    const KIND: PolicyKind = PolicyKind::QueryLevel;
    const TAKES: &'static str = "where the same head, fitted on whether both models' answers \
        agree, expects that they do not. No grade is read (after Dual-Model Distillation, arXiv \
        2410.12165)";
    const FACT: Option<Fact> = Some(Fact::Agreement);

    fn curve(
        _: u64,
        curve: &QuestionCurve,
        facts: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError> {
        scored(curve, facts.and_then(|facts| facts.agreement))
    }
}
