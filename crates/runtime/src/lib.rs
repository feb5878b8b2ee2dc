//! Routed decoding, generic over core's traits: what a device runs.
//!
//! Key types:
//! - [`Pair`]: an SLM, an LLM and the vocabulary they share.
//! - [`Engine`]: the one loop of routed decoding, turn by turn, for many
//!   sessions at once.
//! - [`Policy`]: how a session is decoded: τ, what happens while the LLM is
//!   waited for, deadline and budget.
//! - [`Path`]: the prompt and committed tokens of one trajectory, from which
//!   every scorer's [`tokenroute_core::Position`] is made.
//! - [`Request`]: what is to be answered.
//! - [`Absent`], [`KeepAll`]: for an SLM that answers alone.
//!
//! Usage:
//! 1. [`decode`] answers many requests at one τ, in lockstep batches.
//! 2. [`RoutedDecoding`] answers many by any policy, and hands out tokens as they are committed.
//! 3. [`Engine`] does so for sessions that come and go, as in a server, or that branch off
//!    from others ([`Committed`]).
//! 4. [`greedy`] lets one model answer alone.
//! 5. [`teacher_forcing`] reads what a model says along answers that are given.

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
pub use policy::{Policy, Wait};
pub use slm_only::{Absent, KeepAll};
pub use teacher_forcing::{TeacherForced, teacher_forcing};
