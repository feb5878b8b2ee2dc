//! Chance: every token has a random score.

use tokenroute_core::{Position, Score, ScoreError, Scorer, unit_hash};

/// Scores by a hash of (seed, question, position).
#[derive(Debug, Clone, Copy)]
pub struct Random {
    /// Seed of the hash.
    pub seed: u64,
}

impl Scorer for Random {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(unit_hash(self.seed, position.question, position.index))
    }
}
