//! The nouns, traits and pure maths of token-level routing between a small
//! language model on a device (SLM) and a large one in the cloud (LLM).
//!
//! This crate has no I/O, no clock and no tensor library. Its only randomness is drawn from a seed.
//! Every other crate of the workspace uses its types.
//!
//! Key types:
//! - [`Question`], [`PromptFormat`], [`Grader`]: a task item, its prompt, and how an answer
//!   is graded.
//! - [`LanguageModel`], [`Step`], [`Feed`]: a local decoder and its output at a position.
//! - [`PrefixCache`]: decoder states kept for later prompts with the same beginning.
//! - [`CommonPrefix`]: a model that has read the beginning that all prompts share.
//! - [`Llm`], [`Ask`], [`Continuation`], [`Reply`]: the large model as everybody calls it.
//! - [`Speller`]: a tokenizer as one of another kind meets it.
//! - [`Sampling`]: how tokens are drawn where decoding is not greedy.
//! - [`Score`], [`Tau`]: the router's output and the threshold on it.
//! - [`Scorer`], [`Position`], [`Features`]: from a decoding position to a score.
//! - [`Feature`], [`FeatureSpec`]: what a router reads of a step, and of the steps before.
//! - [`LabelRow`], [`Relation`]: the result of labelling one position.
//! - [`RouterHeader`]: the metadata of a router file.
//! - [`Trace`]: the record of one generation.
//! - [`QuestionCurve`], [`Curve`]: exact step functions of τ and the metrics on them.
//! - [`Part`]: a part of a stage's work, for several processes.
//! - [`OutcomeTable`]: both models' grades and routers' scores of questions, from anywhere.

mod common_prefix;
mod curve;
mod features;
mod grading;
mod handoff;
mod hash;
mod label;
mod llm;
mod log_probability;
mod metrics;
mod model;
mod operator;
mod outcome;
mod part;
mod prefix_cache;
mod progress;
mod prompt;
mod question;
pub mod registry;
mod router;
mod sampling;
mod score;
mod scorer_state;
mod speller;
pub mod template;
mod token_class;
mod trace;
mod vocabulary;

pub use common_prefix::{CommonPrefix, common_prefix};
pub use curve::{Curve, CurvePoint, Piece, QuestionCurve, Sweepable, mean_offload};
pub use features::{
    Feature, FeatureConfig, FeatureReader, FeatureSpec, Features, History, Seen, register_feature,
};
pub use grading::{
    Grader, after_thinking, answer_letter, grade, is_number, last_boxed, same_answer,
    within_thinking, yes_or_no,
};
pub use handoff::Handoff;
pub use hash::{prefix_hash, stable_hash, unit_hash};
pub use label::{Counts, LabelRow, Relation, Shares, Tally, soft_target};
pub use llm::{Ask, Bytes, Cause, Continuation, Llm, LlmError, Reply, TopTokens};
pub use log_probability::LogProbability;
pub use metrics::{Gap, apgr, apgr_of_tenths, apgr_to, cpt};
pub use model::{Detail, Feed, LanguageModel, ModelError, ModelInfo, Step, TokenId};
pub use operator::{Operator, OperatorPart, WeightKind, WeightShape};
pub use outcome::{Outcome, OutcomeTable, RouterScores};
pub use part::{Part, PartError};
pub use prefix_cache::PrefixCache;
pub use progress::{Progress, Silent};
pub use prompt::{Example, PromptError, PromptFormat};
pub use question::{Choices, Question, QuestionError};
pub use router::{
    Activation, Architecture, Normalisation, Platt, Ranks, RouterHeader, Selection, TauPoint,
    TrainingRecord, Trial,
};
pub use sampling::{Sampling, SamplingError, Side};
pub use score::{LlmStep, Position, Score, ScoreError, Scorer, Tau, TauError};
pub use scorer_state::{Scored, ScorerState};
pub use speller::{Spelled, Speller, unfinished};
pub use token_class::TokenClass;
pub use trace::{Origin, Trace, TraceToken};
pub use vocabulary::{Breaks, Vocabulary};
