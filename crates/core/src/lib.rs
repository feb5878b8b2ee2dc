//! The nouns, traits and pure maths of token-level routing between a small
//! language model on a device (SLM) and a large one in the cloud (LLM).
//!
//! This crate has no I/O, no clock, no randomness but draws from a seed, and no tensor
//! library; every other crate of the workspace speaks in its types.
//!
//! Key types:
//! - [`Question`], [`PromptFormat`], [`Grader`]: a task item, how it is asked and how an
//!   answer to it is judged.
//! - [`LanguageModel`], [`Step`], [`Feed`]: a local decoder and what it says at a position.
//! - [`Kept`]: a decoder's states, for the next prompt that begins like them.
//! - [`Llm`], [`Ask`], [`Reply`]: the large model as the runtime sees it.
//! - [`Sampling`]: how tokens are drawn where decoding is not greedy.
//! - [`Score`], [`Tau`]: the router's output and the threshold on it.
//! - [`Scorer`], [`Position`], [`Features`]: from a decoding position to a score.
//! - [`LabelRow`], [`Relation`]: what labelling finds at a position.
//! - [`RouterHeader`]: what a router file says about itself.
//! - [`Trace`]: the record of one generation.
//! - [`QuestionCurve`], [`Curve`]: exact step functions of τ and the metrics on them.

mod curve;
mod features;
mod grading;
mod hash;
mod kept;
mod label;
mod llm;
mod metrics;
mod model;
mod progress;
mod prompt;
mod question;
mod router;
mod sampling;
mod score;
mod token_class;
mod trace;
mod vocabulary;

pub use curve::{Curve, CurvePoint, Piece, QuestionCurve, Sweepable, mean_offload};
pub use features::{FeatureSpec, Features};
pub use grading::{Grader, answer_letter, grade, is_number};
pub use hash::{prefix_hash, stable_hash, unit_hash};
pub use kept::Kept;
pub use label::{Counts, LabelRow, Relation, Shares, soft_target};
pub use llm::{Ask, Bytes, Cause, Llm, LlmError, Reply};
pub use metrics::{Gap, apgr, cpt};
pub use model::{Detail, Feed, LanguageModel, ModelError, ModelInfo, Run, Runs, Step, TokenId};
pub use progress::{Progress, Silent};
pub use prompt::{Example, PromptError, PromptFormat};
pub use question::{Choices, Question, QuestionError};
pub use router::{
    Activation, Architecture, Normalisation, Platt, RouterHeader, TauPoint, TrainingRecord,
};
pub use sampling::{Sampling, SamplingError, Side};
pub use score::{Position, Score, ScoreError, Scorer, Tau, TauError};
pub use token_class::TokenClass;
pub use trace::{Origin, Trace, TraceToken};
pub use vocabulary::Vocabulary;
