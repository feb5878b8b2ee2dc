//! The LLM as the runtime calls it: in process, over HTTP, cached, scripted.
//!
//! Key types:
//! - [`InProcess`]: any local [`tokenroute_core::LanguageModel`] as the LLM, with
//!   a cache so that what it has read or answered is not paid for twice.
//! - [`AsModel`]: the other way round, any [`tokenroute_core::Llm`] as a model that steps.
//! - [`Scripted`]: answers and failures from a script.
//! - [`ToyModel`]: a tiny deterministic model of no use but to exercise the rest.
//! - `http::Http` (feature `http`): vLLM, SGLang, llama.cpp's server, `tokenroute cloud`
//!   or any OpenAI-compatible completions API as the LLM; `http::Answers` keeps any
//!   LLM's answers on disk.
//! - `ApiKey`: the secret between the two.
//! - `link::Link` (feature `link`): a network with a round trip and a bandwidth between
//!   a client and a server on one machine.

mod as_model;
#[cfg(feature = "http")]
pub mod http;
mod in_process;
mod key;
#[cfg(feature = "link")]
pub mod link;
mod prefixes;
mod scripted;
mod together;
mod toy;

pub use as_model::AsModel;
pub use in_process::InProcess;
pub use key::{ApiKey, BadKey, CLOUD_KEY, KeyError};
pub use scripted::{Scripted, table};
pub use toy::ToyModel;
