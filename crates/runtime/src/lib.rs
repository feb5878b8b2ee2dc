//! The routed decoding loop, generic over core's traits: what a device runs.
//!
//! Key types:
//! - [`Pair`]: an SLM, an LLM and the vocabulary they share.
//! - [`Path`]: the prompt and committed tokens of one trajectory, from which
//!   every scorer's [`tokenroute_core::Position`] is made.
//! - [`Request`]: what is to be answered.
//!
//! Usage:
//! 1. [`decode`] answers many requests at one τ, in lockstep batches.
//! 2. [`stream`] answers one and hands out its tokens as they are committed.
//! 3. [`greedy`] and [`extend`] let one model answer alone.
//! 4. [`forced`] reads what a model says along answers that are given.

mod alone;
mod decode;
mod error;
mod forced;
mod pair;
mod path;

pub use alone::{Start, extend, greedy};
pub use decode::{DEFAULT_BATCH, Request, decode, stream};
pub use error::RuntimeError;
pub use forced::{Forced, forced};
pub use pair::{Pair, advance_canonical};
pub use path::Path;
