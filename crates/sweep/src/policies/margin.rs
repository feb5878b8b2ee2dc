//! The SLM's lead over its runner-up.

use tokenroute_core::{Position, Score, ScoreError, Scorer};

use super::{Policy, PolicyInputs, PolicyKind};

/// The probability of the SLM's token less that of the runner-up.
#[derive(Debug, Clone, Copy)]
pub struct Margin;

impl Policy for Margin {
    const NAME: &'static str = "margin";
    const KIND: PolicyKind = PolicyKind::TrainingFree;
    const SCORE: &'static str = "that less the runner-up's";

    fn build(_: &PolicyInputs<'_>) -> Option<Self> {
        Some(Margin)
    }
}

impl Scorer for Margin {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.margin())
    }
}
