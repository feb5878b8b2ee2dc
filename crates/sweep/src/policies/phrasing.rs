//! Entropy that always keeps some words: those of the phrasing, where the task has several
//! equally good ones. The SLM is uncertain there, and nothing depends on it.

use std::collections::HashSet;

use tokenroute_core::{Position, Score, ScoreError, Scorer, TokenId};

use super::Entropy;

/// [`Entropy`], except that listed tokens of the SLM have the highest score.
#[derive(Debug, Clone)]
pub struct EntropyButPhrasing {
    /// The score of all other tokens.
    pub entropy: Entropy,
    /// Tokens that are always kept below τ = 1.
    pub kept: HashSet<TokenId>,
}

impl Scorer for EntropyButPhrasing {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        if self.kept.contains(&position.step.token) {
            return Ok(Score::MAX);
        }
        self.entropy.score(position)
    }
}
