//! Speculative cascades: the LLM checks every token of the SLM and takes over where it gains
//! enough.

use tokenroute_core::{Position, Score, ScoreError, Scorer};

use super::{Needs, Policy, PolicyInputs, PolicyKind};

/// The optimal deferral rule of speculative cascades (arXiv 2405.19261, Eq. 10). With the SLM's
/// distribution q and the LLM's p, the LLM's token is taken iff
///
/// max q < max p − α · D, with D the total variation distance of p and q.
///
/// D is the share of drafts that are rejected if the LLM takes over, so it is that of the
/// distributions that tokens are drawn from. The maxima are at temperature 1. The authors' code
/// has both so. Both models are greedy here, so D is 1 where their tokens differ and 0 where
/// they are the same.
///
/// Where they differ, the rule holds iff α < max p − max q = r, and the score is (1 − r) / 2. So
/// **τ stands for α = 1 − 2τ**, and one scorer gives the rule at every α. τ = ½ is α = 0: the
/// more confident model wins. The paper has α ≥ 0, which is τ ≤ ½. At τ ≈ 1 every difference is
/// taken: the answer is the LLM's own, as in speculative decoding.
///
/// Where the tokens are the same, the rule changes nothing: the draft is accepted. The token
/// counts as kept and has the highest score. So the offload ratio is the share of rejected
/// drafts. It is no measure of the LLM's work: the LLM reads every position, as in speculative
/// decoding.
#[derive(Debug, Clone, Copy)]
pub struct SpeculativeCascade;

impl Policy for SpeculativeCascade {
    const NAME: &'static str = "speculative-cascade";
    const KIND: PolicyKind = PolicyKind::Speculative;
    const SCORE: &'static str = "where the models differ, (1 − r) / 2 with r the LLM's greatest \
        probability less the SLM's; else the highest (speculative cascades, arXiv 2405.19261)";
    /// The most probable token alone.
    const NEEDS: Needs = Needs { llm_top: 1, ..Needs::NOTHING };

    fn build(_: &PolicyInputs<'_>) -> Option<Self> {
        Some(SpeculativeCascade)
    }
}

impl Scorer for SpeculativeCascade {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let step = position.step;
        let Some(llm) = position.llm.filter(|llm| llm.token != step.token) else {
            return Ok(Score::MAX);
        };
        let best = llm.top.and_then(|top| top.first()).ok_or(ScoreError::NoProbabilities)?;
        Score::new((1.0 - (f64::from(best.1) - step.max_probability())) / 2.0)
    }

    fn needs_llm(&self) -> bool {
        true
    }

    fn llm_top(&self) -> usize {
        Self::NEEDS.llm_top
    }
}
