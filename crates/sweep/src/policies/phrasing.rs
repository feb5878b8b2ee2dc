//! Entropy that always keeps some words: those of the phrasing, where the task has several
//! equally good ones. The SLM is uncertain there, and nothing depends on it.

use std::collections::HashSet;

use tokenroute_core::{Position, Score, ScoreError, Scorer, TokenId};

use super::{Entropy, Needs, Policy, PolicyInputs, PolicyKind};

/// [`Entropy`], except that listed tokens of the SLM have the highest score.
#[derive(Debug, Clone)]
pub struct EntropyButPhrasing {
    /// The score of all other tokens.
    pub entropy: Entropy,
    /// Tokens that are always kept below τ = 1.
    pub kept: HashSet<TokenId>,
}

impl Policy for EntropyButPhrasing {
    const NAME: &'static str = "entropy-but-phrasing";
    const KIND: PolicyKind = PolicyKind::TrainingFree;
    const SCORE: &'static str = "the same, except that words in `sweep.phrasing` are always kept";
    const NEEDS: Needs = Needs { phrasing: true, ..Needs::NOTHING };

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        let kept = inputs.phrasing.iter().copied().collect();
        Some(EntropyButPhrasing { entropy: Entropy::build(inputs)?, kept })
    }
}

impl Scorer for EntropyButPhrasing {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        if self.kept.contains(&position.step.token) {
            return Ok(Score::MAX);
        }
        self.entropy.score(position)
    }
}
