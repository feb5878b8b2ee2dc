//! The entropy of the SLM's distribution.

use tokenroute_core::{Position, Score, ScoreError, Scorer};

use super::{Policy, PolicyInputs, PolicyKind};

/// 1 − H / ln V, with H the entropy of the SLM's distribution over V tokens.
#[derive(Debug, Clone, Copy)]
pub struct Entropy {
    /// V, at least 2.
    pub vocabulary: usize,
}

impl Policy for Entropy {
    const NAME: &'static str = "entropy";
    const KIND: PolicyKind = PolicyKind::TrainingFree;
    const SCORE: &'static str = "1 − H / ln V, from the entropy H over V tokens";

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        Some(Entropy { vocabulary: inputs.vocabulary })
    }
}

impl Scorer for Entropy {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(certainty(position.step.entropy, self.vocabulary))
    }
}

/// 1 − H / ln V.
pub(super) fn certainty(entropy: f32, vocabulary: usize) -> f64 {
    1.0 - f64::from(entropy) / (vocabulary.max(2) as f64).ln()
}
