//! Why labelling stopped. What was finished before stays and is resumed from.

use tokenroute_core::{ModelError, ScoreError};
use tokenroute_store::StoreError;

/// Why labelling stopped.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// A model failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The router gave a score that is not a number.
    #[error("question {question:?}, token {index}: {source}")]
    Score {
        /// Id of the question.
        question: String,
        /// Answer tokens before the one that was scored.
        index: usize,
        /// What was wrong with the score.
        source: ScoreError,
    },
    /// A shard or manifest could not be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A question whose prompt has no tokens.
    #[error("question {question:?} has an empty prompt; expected at least one token")]
    EmptyPrompt {
        /// Id of the question.
        question: String,
    },
    /// A question without the rationale that the run follows.
    #[error(
        "question {question:?} has no gold rationale; use `reference = \"llm\"` or a data set with `cot`"
    )]
    NoGold {
        /// Id of the question.
        question: String,
    },
    /// A question given twice, whose rows would be doubled.
    #[error("question {question:?} is twice in split {split:?}; expected unique ids")]
    Duplicate {
        /// Id of the question.
        question: String,
        /// The split.
        split: String,
    },
    /// A setting that allows no work.
    #[error("label configuration: {key} is 0; expected at least 1")]
    Zero {
        /// The setting.
        key: &'static str,
    },
}
