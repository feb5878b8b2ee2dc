//! Routed decoding, generic over core's traits: what a device runs.
//!
//! Key types:
//! - [`Pair`]: an SLM, an LLM and the vocabulary they share.
//! - [`Engine`]: the one loop of routed decoding, turn by turn, for many sessions at once.
//! - [`Policy`]: how a session is decoded: τ, the mode of waiting for the LLM, and limits.
//! - [`Path`]: the prompt and committed tokens of one trajectory. Every scorer's
//!   [`tokenroute_core::Position`] is made from it.
//! - [`Request`]: a prompt and its limit of tokens.
//! - [`Absent`], [`KeepAll`]: for an SLM that decodes alone.
//!
//! Usage:
//! 1. [`decode`] answers many requests at one τ, in lockstep batches.
//! 2. [`RoutedDecoding`] answers many requests by any policy, and passes on tokens as they
//!    are committed.
//! 3. [`Engine`] decodes sessions that come and go, as in a server, or that branch off from
//!    others ([`Committed`]).
//! 4. [`greedy`] decodes with one model alone.
//! 5. [`teacher_forcing`] gives a model's predictions along given answers.
//!
//! ```
//! use tokenroute_core::{Origin, Position, Score, ScoreError, Scorer, Tau};
//! use tokenroute_llm::{InProcess, ToyModel};
//! use tokenroute_runtime::{Pair, Request, decode};
//!
//! /// Offloads the tokens of which the SLM is least sure.
//! struct TopProbability;
//!
//! impl Scorer for TopProbability {
//!     fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
//!         Score::new(position.step.top[0].1.into())
//!     }
//! }
//!
//! let (slm, llm) = (ToyModel::new(1), InProcess::new(ToyModel::new(2)));
//! let vocabulary = ToyModel::vocabulary();
//! let pair = Pair::new(&slm, &llm, &vocabulary);
//! let request = Request { question: "", prompt: &[1, 2, 3], max_tokens: 20 };
//! let traces = decode(pair, &TopProbability, Tau::new(0.5)?, &[request], 1)?;
//! let offloaded = traces[0].tokens.iter().filter(|t| t.origin == Origin::Llm).count();
//! assert_eq!(offloaded as u64, traces[0].llm_calls);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod branch;
mod budget;
mod calls;
mod committed;
mod decide;
mod decode;
mod drive;
mod engine;
mod error;
mod event;
mod greedy;
mod lookahead;
mod pair;
mod path;
mod policy;
mod session;
mod slm_only;
mod step;
mod teacher_forcing;

pub use budget::{Budget, BudgetError};
pub use calls::Calls;
pub use committed::Committed;
pub use decode::{DEFAULT_BATCH, Request, RoutedDecoding, decode};
pub use drive::Begun;
pub use engine::{Engine, Waker};
pub use error::RuntimeError;
pub use event::{Event, Session, SessionId};
pub use greedy::greedy;
pub use pair::{Pair, advance_canonical};
pub use path::Path;
pub use policy::{Policy, PolicyError, Wait};
pub use slm_only::{Absent, KeepAll};
pub use step::RUN;
pub use teacher_forcing::{TeacherForced, teacher_forcing};
