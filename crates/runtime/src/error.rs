//! Errors of routed decoding.

use tokenroute_core::{LlmError, ModelError, ScoreError};

use crate::PolicyError;

/// The cause that stopped routed decoding.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RuntimeError {
    /// The SLM failed.
    #[error("the SLM failed: {0}")]
    Model(#[from] ModelError),
    /// The LLM failed, and [`crate::Policy::strict`] allows no token in its place. By default
    /// the SLM's token is kept.
    #[error(transparent)]
    Llm(#[from] LlmError),
    /// A policy gave a score that is not a number.
    #[error("question {question:?}, token {index}: {source}")]
    Score {
        /// Id of the question.
        question: String,
        /// Number of tokens generated before the one that was scored.
        index: usize,
        /// The problem of the score.
        source: ScoreError,
    },
    /// A request without a prompt.
    #[error("question {question:?} has an empty prompt; expected at least one token")]
    EmptyPrompt {
        /// Id of the question.
        question: String,
    },
    /// A policy whose parts do not go together.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}
