//! Policies that use the SLM's own uncertainty.

use tokenroute_core::{Position, Score, ScoreError, Scorer};

/// The probability of the SLM's token.
#[derive(Debug, Clone, Copy)]
pub struct MaxProbability;

impl Scorer for MaxProbability {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.max_probability())
    }
}

/// The probability of the SLM's token less that of the runner-up.
#[derive(Debug, Clone, Copy)]
pub struct Margin;

impl Scorer for Margin {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.margin())
    }
}

/// 1 − H / ln V, with H the entropy of the SLM's distribution over V tokens.
#[derive(Debug, Clone, Copy)]
pub struct Entropy {
    /// V, at least 2.
    pub vocabulary: usize,
}

impl Scorer for Entropy {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(certainty(position.step.entropy, self.vocabulary))
    }
}

/// [`Entropy`] with the entropy at the sentence's first token, for all tokens of the
/// sentence. This is GlimpRouter (arXiv 2601.05110) with a sentence as the reasoning step:
/// the SLM's entropy at the first token of a step decides about the whole step. The paper
/// routes the steps of a reasoning model's thinking. The answers here are short, and their
/// sentences are their steps.
#[derive(Debug, Clone, Copy)]
pub struct SentenceEntropy {
    /// V, at least 2.
    pub vocabulary: usize,
}

impl Scorer for SentenceEntropy {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(certainty(position.sentence_entropy, self.vocabulary))
    }
}

fn certainty(entropy: f32, vocabulary: usize) -> f64 {
    1.0 - f64::from(entropy) / (vocabulary.max(2) as f64).ln()
}
