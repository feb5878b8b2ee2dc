//! Errors of labelling. Finished shards stay; a later run resumes from them.

use std::path::PathBuf;

use tokenroute_core::{LlmError, ModelError, Part};
use tokenroute_runtime::RuntimeError;
use tokenroute_store::StoreError;

/// Why labelling stopped.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The SLM failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The LLM gave no usable answer.
    #[error("question {question:?}: {source}")]
    Llm {
        /// Id of the question.
        question: String,
        /// The LLM's error.
        source: LlmError,
    },
    /// Routed decoding stopped.
    #[error(transparent)]
    Decoding(#[from] RuntimeError),
    /// A shard or manifest could not be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A question's prompt has no tokens.
    #[error("question {question:?} has an empty prompt; expected at least one token")]
    EmptyPrompt {
        /// Id of the question.
        question: String,
    },
    /// A question has no rationale, and the run follows rationales.
    #[error(
        "question {question:?} has no gold rationale; use `reference = \"llm\"` or a data set with `cot`"
    )]
    NoGold {
        /// Id of the question.
        question: String,
    },
    /// The LLM gives no probabilities, and the run asks for them.
    #[error(
        "question {question:?}: the LLM gave no probability of its token, which label.llm_probabilities asks for; leave that out, or label with an LLM that gives log-probabilities"
    )]
    NoProbabilities {
        /// Id of the question.
        question: String,
    },
    /// An answer could not be graded.
    #[error("{what}")]
    Ungraded {
        /// The question and the cause.
        what: String,
    },
    /// A question is given twice. Its rows would be doubled.
    #[error("question {question:?} is twice in split {split:?}; expected unique ids")]
    Duplicate {
        /// Id of the question.
        question: String,
        /// The split.
        split: String,
    },
    /// A setting is out of range, or two settings contradict each other.
    #[error("label configuration: {key} {what}")]
    Config {
        /// The setting.
        key: &'static str,
        /// The problem and what was expected.
        what: String,
    },
    /// An unfinished run of the same round took the SLM's hidden states from elsewhere.
    #[error(
        "{} has {shards} finished shards {} `--states`; go on {} it, or delete that folder to label anew",
        folder.display(),
        if *given { "that were made with" } else { "that were made without" },
        if *given { "with" } else { "without" }
    )]
    States {
        /// The folder of the unfinished run.
        folder: PathBuf,
        /// Its finished shards.
        shards: usize,
        /// Whether an engine gave their states.
        given: bool,
    },
    /// A part of a round that cannot be joined with the others.
    #[error("part {part} in {}: {what}", folder.display())]
    Part {
        /// The part.
        part: Part,
        /// Its folder.
        folder: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A setting is 0 and may not be.
    #[error("label configuration: {key} is 0; expected at least 1")]
    Zero {
        /// The setting.
        key: &'static str,
    },
}
