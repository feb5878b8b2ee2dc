//! The LLM behind the runtime: in process, and scripted.
//!
//! Key types:
//! - [`InProcess`]: any local [`tokenroute_core::LanguageModel`] as the LLM, with
//!   a cache so that what it has read or answered is not paid for twice.
//! - [`Scripted`]: answers and failures from a script.
//! - [`ToyModel`]: a tiny deterministic model of no use but to exercise the rest.

mod in_process;
mod prefixes;
mod scripted;
mod toy;

pub use in_process::InProcess;
pub use scripted::{Scripted, table};
pub use toy::ToyModel;
