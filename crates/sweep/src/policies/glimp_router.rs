//! GlimpRouter: the entropy at the first token of a reasoning step, for the whole step.

use tokenroute_core::{Position, Score, ScoreError, Scorer};

use super::entropy::certainty;
use super::{Needs, Policy, PolicyInputs, PolicyKind};

/// GlimpRouter (arXiv 2601.05110): [`super::Entropy`] with the entropy at the first token of a
/// reasoning step, for all tokens of the step. As there, steps are separated by `"\n\n"`.
///
/// The first token of a step is the LLM's too, if the step is. Differences from the paper: its
/// code takes the entropy over the 20 most probable tokens, here it is over all of them. There
/// the LLM always writes the final answer after a reasoning model's thinking; here the last
/// step is routed as any other. An answer without `"\n\n"` is one step, so that one token
/// decides about all of it.
#[derive(Debug, Clone, Copy)]
pub struct GlimpRouter {
    /// V, at least 2.
    pub vocabulary: usize,
}

impl Policy for GlimpRouter {
    const NAME: &'static str = "glimp-router";
    const KIND: PolicyKind = PolicyKind::TrainingFree;
    const SCORE: &'static str = "the entropy at the first token of the step, for the whole step; \
        steps are separated by `\"\\n\\n\"` (GlimpRouter, arXiv 2601.05110)";
    const NEEDS: Needs = Needs { path: true, ..Needs::NOTHING };

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        Some(GlimpRouter { vocabulary: inputs.vocabulary })
    }
}

impl Scorer for GlimpRouter {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(certainty(position.paragraph_entropy, self.vocabulary))
    }
}
