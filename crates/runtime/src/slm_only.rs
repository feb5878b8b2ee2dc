//! Stand-ins for the large model and its router, for an SLM that decodes alone.

use tokenroute_core::{Ask, Llm, LlmError, Position, Reply, Score, ScoreError, Scorer, TokenId};

/// A large model that does not exist. Every call fails, so the small model's token is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Absent;

impl Llm for Absent {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let absent = || LlmError::Unavailable("there is no large model".to_owned());
        asks.iter().map(|_| Err(absent())).collect()
    }

    fn forget(&self, _: &[TokenId]) {}
}

/// A router that keeps every token of the small model, at any τ below 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeepAll;

impl Scorer for KeepAll {
    fn score(&self, _: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(Score::MAX)
    }
}
