//! The exact τ sweep: routed decoding of every question at every τ, at the cost of
//! the distinct trajectories.
//!
//! A branch owns an interval (above, upto] of τ. The SLM decodes a run of its own
//! tokens. Then the LLM checks the whole run in one call. Where the LLM's token
//! differs and some τ of the branch exceeds the score, a branch splits off. A token
//! is offloaded at exactly those τ of its branch that exceed its score, so a leaf's
//! scores give its offload count as a step function.

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

/// Options of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SweepOptions {
    /// Most leaves of one question. More is an error: a sweep of some τ alone would
    /// not be exact.
    pub max_leaves: usize,
    /// Branches in one batch of the SLM.
    pub batch: usize,
    /// Whether the leaves' tokens and scores are returned.
    pub keep_leaves: bool,
}

impl Default for SweepOptions {
    fn default() -> Self {
        SweepOptions { max_leaves: 10_000, batch: 256, keep_leaves: false }
    }
}

/// One trajectory and the interval of τ that leads to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// The trajectory holds for τ above this (and at 0, if this is 0) ...
    pub above: f64,
    /// ... up to and including this.
    pub upto: f64,
    /// The generated tokens, the end token included.
    pub tokens: Vec<TokenId>,
    /// The policy's score at every token. The LLM makes the token iff the score < τ.
    pub scores: Vec<f64>,
    /// Whether the answer is right.
    pub correct: bool,
}

/// The sweep of one question.
#[derive(Debug, Clone, PartialEq)]
pub struct SweptQuestion {
    /// The exact step function of τ, equal neighbours merged.
    pub curve: QuestionCurve,
    /// Number of distinct trajectories.
    pub leaf_count: usize,
    /// The trajectories in order of τ; empty without `keep_leaves`.
    pub leaves: Vec<Leaf>,
    /// Positions processed.
    pub cost: SweepCost,
}

/// An error that stops a sweep. A sweep does not degrade: a missing answer of the
/// LLM would make it inexact.
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
        /// The LLM's error.
        source: LlmError,
    },
    /// The LLM's reply has another number of tokens than positions asked about.
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
        /// Index of the token in the answer.
        index: usize,
        /// The score's error.
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
///
/// `grade(i, tokens)` returns whether `tokens` are a right answer to `questions[i]`.
/// `progress` advances by one for every finished question. The result for a
/// question does not depend on the others: a caller may split the questions and
/// resume at any boundary.
///
/// ```
/// use tokenroute_core::{Curve, Silent, Tau};
/// use tokenroute_llm::{InProcess, ToyModel};
/// use tokenroute_runtime::{Pair, Request, decode};
/// use tokenroute_sweep::policies::MaxProbability;
/// use tokenroute_sweep::{SweepOptions, sweep};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // A toy SLM, and an LLM that agrees with it at 70% of all prefixes.
/// let slm = ToyModel::new(1);
/// let llm = InProcess::new(ToyModel::following(2, &slm, 0.7));
/// let vocabulary = ToyModel::vocabulary();
/// let pair = Pair::new(&slm, &llm, &vocabulary);
///
/// // An answer counts as right if it has an even number of tokens.
/// let questions = [Request { question: "q1", prompt: &[3, 5], max_tokens: 20 }];
/// let grade = |_: usize, tokens: &[u32]| tokens.len() % 2 == 0;
/// let swept =
///     sweep(pair, &MaxProbability, &questions, &grade, &SweepOptions::default(), &Silent)?;
///
/// // The curve holds at every τ: here, one decode confirms it.
/// let curve = Curve::of(&[swept[0].curve.clone()]);
/// let tau = Tau::new(0.5)?;
/// let traces = decode(pair, &MaxProbability, tau, &questions, 1)?;
/// assert_eq!(curve.at(tau).offloaded, traces[0].offloaded() as u64);
/// assert_eq!(curve.at(Tau::SLM_ONLY).offloaded, 0);
/// assert_eq!(curve.at(Tau::LLM_ONLY).offload(), 1.0);
/// # Ok(())
/// # }
/// ```
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
