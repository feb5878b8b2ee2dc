//! Chance: every token has a random score.

use tokenroute_core::{Position, Score, ScoreError, Scorer, unit_hash};

use super::{Policy, PolicyInputs, PolicyKind};

/// Scores by a hash of (seed, question, position).
#[derive(Debug, Clone, Copy)]
pub struct Random {
    /// Seed of the hash.
    pub seed: u64,
}

impl Policy for Random {
    const NAME: &'static str = "random";
    const KIND: PolicyKind = PolicyKind::TrainingFree;
    const SCORE: &'static str = "a hash of (seed, question, position)";

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        Some(Random { seed: inputs.seed })
    }
}

impl Scorer for Random {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(unit_hash(self.seed, position.question, position.index))
    }
}
