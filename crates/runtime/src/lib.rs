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
//! 2. [`stream`] answers one and hands out its tokens as they are committed.
//! 3. [`decode_with`] answers many by any policy, hiding the wait for the LLM.
//! 4. [`Engine`] does so for sessions that come and go, as in a server.
//! 5. [`greedy`] and [`extend`] let one model answer alone.
//! 6. [`forced`] reads what a model says along answers that are given.

mod alone;
mod branch;
mod budget;
mod calls;
mod decode;
mod engine;
mod error;
mod forced;
mod judge;
mod known;
mod live;
mod lone;
mod pair;
mod path;
mod policy;
mod step;

pub use alone::{Start, extend, greedy};
pub use budget::{Budget, BudgetError};
pub use calls::Calls;
pub use decode::{DEFAULT_BATCH, Request, decode, decode_with, stream};
pub use engine::{Engine, Event, Session, SessionId, Waker};
pub use error::RuntimeError;
pub use forced::{Forced, forced};
pub use lone::{Absent, KeepAll};
pub use pair::{Pair, advance_canonical};
pub use path::Path;
pub use policy::{Policy, Wait};
