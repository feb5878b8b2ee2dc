//! The entropy at the first token of a sentence, for the whole sentence.

use tokenroute_core::{Position, Score, ScoreError, Scorer};

use super::entropy::certainty;
use super::{Policy, PolicyInputs, PolicyKind};

/// [`super::Entropy`] with the entropy at the sentence's first token, for all tokens of the
/// sentence. It is [`super::GlimpRouter`]'s rule with shorter steps. No paper has it.
#[derive(Debug, Clone, Copy)]
pub struct SentenceEntropy {
    /// V, at least 2.
    pub vocabulary: usize,
}

impl Policy for SentenceEntropy {
    const NAME: &'static str = "sentence-entropy";
    const KIND: PolicyKind = PolicyKind::TrainingFree;
    const SCORE: &'static str = "the same with a sentence as the step; no paper has it";

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        Some(SentenceEntropy { vocabulary: inputs.vocabulary })
    }
}

impl Scorer for SentenceEntropy {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(certainty(position.sentence_entropy, self.vocabulary))
    }
}
