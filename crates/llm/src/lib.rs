//! The LLM as the runtime calls it: in process, over HTTP, cached, scripted.
//!
//! Key types:
//! - [`InProcess`]: any local [`tokenroute_core::LanguageModel`] as the LLM, with a cache of
//!   what it has read and answered.
//! - [`Metered`]: an LLM elsewhere, with its positions counted as [`InProcess`] counts them.
//! - [`Patient`]: an LLM that is asked again while it is away.
//! - [`Scripted`]: answers and failures from a script.
//! - [`ToyModel`]: a tiny deterministic model for tests and demos.
//! - `http::Http` (feature `http`): vLLM, SGLang, llama.cpp's server, `tokenroute cloud`
//!   or any OpenAI-compatible completions API as the LLM; `http::Answers` keeps any
//!   LLM's answers on disk.
//! - `ApiKey`: the secret between the two.
//! - `link::Link` (feature `link`): a network with a round trip and a bandwidth between
//!   a client and a server on one machine.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "http")]
pub mod http;
mod in_process;
mod key;
#[cfg(feature = "link")]
pub mod link;
mod metered;
mod patient;
mod prefixes;
mod roots;
mod scripted;
mod together;
mod toy;

pub use in_process::InProcess;
pub use key::{ApiKey, BadKey, CLOUD_KEY, KeyError};
pub use metered::Metered;
pub use patient::Patient;
pub use scripted::{Scripted, table};
pub use toy::ToyModel;
