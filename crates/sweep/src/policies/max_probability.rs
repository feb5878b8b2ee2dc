//! The probability of the SLM's token.

use tokenroute_core::{Position, Score, ScoreError, Scorer};

use super::{Policy, PolicyInputs, PolicyKind};

/// The probability of the SLM's token.
#[derive(Debug, Clone, Copy)]
pub struct MaxProbability;

impl Policy for MaxProbability {
    const NAME: &'static str = "max-probability";
    const KIND: PolicyKind = PolicyKind::TrainingFree;
    const SCORE: &'static str = "the SLM's probability of its token";

    fn build(_: &PolicyInputs<'_>) -> Option<Self> {
        Some(MaxProbability)
    }
}

impl Scorer for MaxProbability {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.max_probability())
    }
}
