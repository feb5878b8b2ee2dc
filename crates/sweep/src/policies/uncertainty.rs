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
/// sentence. It is [`GlimpRouter`]'s rule with shorter steps. No paper has it.
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

/// GlimpRouter (arXiv 2601.05110): [`Entropy`] with the entropy at the first token of a
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

impl Scorer for GlimpRouter {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(certainty(position.paragraph_entropy, self.vocabulary))
    }
}

fn certainty(entropy: f32, vocabulary: usize) -> f64 {
    1.0 - f64::from(entropy) / (vocabulary.max(2) as f64).ln()
}
