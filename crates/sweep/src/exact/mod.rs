//! The exact τ sweep: what routed decoding does with every question at every τ,
//! at the cost of the distinct trajectories (design: "The exact τ sweep").
//!
//! A branch owns an interval (above, upto] of τ. The SLM runs along keeping its
//! own tokens; then the LLM checks the whole run in one ask, and where it
//! disagrees below a score a branch splits off. A token is offloaded at exactly
//! those τ of its branch that exceed its score, so a leaf's scores give its
//! offload count as a step function.

mod branch;
mod cost;
mod restricted;
mod schedule;

use tokenroute_core::{
    LanguageModel, Llm, LlmError, ModelError, Progress, QuestionCurve, ScoreError, Scorer, TokenId,
};
use tokenroute_runtime::{Pair, Request};

pub use cost::SweepCost;
pub use restricted::Restricted;

/// How a sweep runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepOptions {
    /// Most leaves one question may have; more is an error, since a sweep
    /// restricted to some τ would not be exact.
    pub max_leaves: usize,
    /// Branches that the SLM advances in lockstep.
    pub batch: usize,
    /// Whether the leaves' tokens and scores are returned.
    pub keep_leaves: bool,
}

impl Default for SweepOptions {
    fn default() -> Self {
        SweepOptions { max_leaves: 10_000, batch: 256, keep_leaves: false }
    }
}

/// One trajectory and the τ that lead to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// The trajectory holds for τ above this (and at 0, if this is 0) ...
    pub above: f32,
    /// ... up to and including this.
    pub upto: f32,
    /// The generated tokens; an end token, if reached, is the last.
    pub tokens: Vec<TokenId>,
    /// The policy's score at every token: the LLM makes it iff the score < τ.
    pub scores: Vec<f32>,
    /// Whether the answer is right.
    pub correct: bool,
}

/// What the sweep found for one question.
#[derive(Debug, Clone, PartialEq)]
pub struct SweptQuestion {
    /// The exact step function of τ, equal neighbours merged.
    pub curve: QuestionCurve,
    /// Number of distinct trajectories.
    pub leaf_count: usize,
    /// The trajectories in order of τ; empty unless asked for.
    pub leaves: Vec<Leaf>,
    /// What it took.
    pub cost: SweepCost,
}

/// Why a sweep stopped. A sweep does not degrade: a missing answer of the LLM
/// would make it inexact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// The SLM failed.
    #[error("the SLM failed during the sweep: {0}")]
    Model(#[from] ModelError),
    /// The LLM gave no answer.
    #[error("question {question:?}: {source}; run the sweep again once the LLM answers")]
    Llm {
        /// Id of the question.
        question: String,
        /// What the LLM reported.
        source: LlmError,
    },
    /// The LLM answered something other than one token for each position.
    #[error("question {question:?}: the LLM gave {got} tokens for {expected} positions")]
    ShortReply {
        /// Id of the question.
        question: String,
        /// Tokens received.
        got: usize,
        /// Positions asked about.
        expected: usize,
    },
    /// A policy gave a score that is not a number.
    #[error("question {question:?}, token {index}: {source}")]
    Score {
        /// Id of the question.
        question: String,
        /// Number of tokens generated before the one that was scored.
        index: usize,
        /// What was wrong with the score.
        source: ScoreError,
    },
    /// More distinct trajectories than allowed.
    #[error(
        "question {question:?} has more than {limit} distinct trajectories over τ; restrict τ to a few values (`sweep.taus`), or lower `max_tokens`"
    )]
    LeafLimit {
        /// Id of the question.
        question: String,
        /// The limit.
        limit: usize,
    },
    /// A request without a prompt.
    #[error("question {question:?} has an empty prompt; expected at least one token")]
    EmptyPrompt {
        /// Id of the question.
        question: String,
    },
}

/// Sweeps τ exactly over `questions` and returns one result for each, in order.
/// `grade(i, tokens)` tells whether `tokens` answer `questions[i]` rightly.
/// `progress` advances by one for every finished question. The result for a
/// question does not depend on the others, so a caller may split the questions
/// as it likes and resume at any boundary.
///
/// # Errors
/// See [`SweepError`].
pub fn sweep<S: LanguageModel, L: Llm + ?Sized>(
    pair: Pair<'_, S, L>,
    scorer: &dyn Scorer,
    questions: &[Request<'_>],
    grade: &dyn Fn(usize, &[TokenId]) -> bool,
    options: &SweepOptions,
    progress: &dyn Progress,
) -> Result<Vec<SweptQuestion>, SweepError> {
    schedule::Sweep::new(pair, scorer, questions, grade, options, progress)?.run()
}
