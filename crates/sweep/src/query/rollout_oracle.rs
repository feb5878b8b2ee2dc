//! A policy that knows both grades and takes the walk instead of the LLM's answer.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Piece, QuestionCurve, ScoreError};

use super::{Fact, QueryPolicy, QuestionFacts, ends, oracle};
use crate::policies::PolicyKind;

/// Knows both grades; the other way is the walk.
#[derive(Debug, Clone, Copy)]
pub struct RolloutOracle;

impl QueryPolicy for RolloutOracle {
    const NAME: &'static str = "rollout-oracle";
    const KIND: PolicyKind = PolicyKind::Oracle;
    const TAKES: &'static str = "where it is right and the SLM alone is not, fewest tokens first; \
        instead of the LLM's answer it takes the walk";
    const FACT: Option<Fact> = Some(Fact::Walk);

    fn curve(
        _: u64,
        curve: &QuestionCurve,
        facts: Option<&QuestionFacts>,
    ) -> Result<Option<QuestionCurve>, ScoreError> {
        let walked = facts.and_then(|facts| facts.walked);
        walked.map(|walked| rollout_oracle(curve, walked)).transpose()
    }
}

/// What the rollout oracle knows of a question: grade and tokens of the AutoJudge walk
/// (arXiv 2504.20039), which keeps each SLM token that the LLM's continuation forgives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walked {
    /// Whether the walk's answer is right.
    pub correct: bool,
    /// Whether it was cut; see [`Piece::cut`].
    pub cut: bool,
    /// Tokens that the walk took from the LLM.
    pub offloaded: u32,
    /// Tokens of the walk's answer.
    pub generated: u32,
}

/// The rollout oracle: per question the SLM alone or the walk, cheapest gains first. A strong
/// reference, no proven bound: the walk is greedy.
///
/// # Errors
/// Never; a count is a number.
pub fn rollout_oracle(curve: &QuestionCurve, walked: Walked) -> Result<QuestionCurve, ScoreError> {
    let Walked { correct, cut, offloaded, generated } = walked;
    let [slm, llm] = ends(curve);
    // The prompt and the tokens before the last one, as if the last were the LLM's.
    let prompt = (llm.llm_positions + 1).saturating_sub(llm.generated);
    let read = prompt + generated.saturating_sub(1);
    let llm_positions = if offloaded == 0 { 0 } else { read };
    let walk = Piece { end: 1.0, correct, cut, offloaded, generated, llm_positions };
    oracle(&curve.question, [slm, walk])
}
