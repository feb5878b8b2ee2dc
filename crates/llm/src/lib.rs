//! The LLM as the runtime calls it: in process, over HTTP, cached, scripted.
//!
//! Key types:
//! - [`InProcess`]: any local [`tokenroute_core::LanguageModel`] as the LLM, with a cache of
//!   its states and answers.
//! - [`Metered`]: an LLM on a server, with its positions counted as [`InProcess`] counts its own.
//! - [`Patient`]: an LLM whose failed calls are repeated.
//! - [`Scripted`]: answers and failures from a script.
//! - [`TextLlm`]: an LLM that shares text alone with the SLM, because its tokenizer is another or
//!   its server takes no token ids.
//! - [`ToyModel`]: a tiny deterministic model for tests and demos.
//! - `http::Http` (feature `http`): vLLM, SGLang, llama.cpp's server, `tokenroute cloud` or any
//!   OpenAI-compatible completions API as the LLM. `http::Answers` caches any LLM's answers on
//!   disk.
//! - [`ApiKey`]: the key of a server.
//! - `link::Link` (feature `link`): a network with a round trip and a bandwidth between a client
//!   and a server on one machine.
//!
//! ```
//! use tokenroute_core::{Ask, Llm};
//! use tokenroute_llm::{InProcess, ToyModel};
//!
//! let llm = InProcess::new(ToyModel::new(1));
//! let ask = Ask::next(&[1, 2, 3], None);
//! let first = llm.ask(&[ask]).remove(0)?;
//! assert_eq!((first.tokens.len(), first.positions), (1, 3));
//! let again = llm.ask(&[ask]).remove(0)?;
//! assert_eq!((again.tokens, again.positions), (first.tokens, 0)); // known answers are free
//! # Ok::<(), tokenroute_core::LlmError>(())
//! ```
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
mod text;
mod together;
mod toy;

pub use in_process::{InProcess, POSITIONS_PER_CALL};
pub use key::{ApiKey, BadKey, CLOUD_KEY, JUDGE_KEY, KeyError};
pub use metered::Metered;
pub use patient::Patient;
pub use scripted::{Scripted, table};
pub use text::{
    Begun, LlmPrompt, LlmText, LocalWriter, Prompts, TextCounts, TextLlm, TextTotals, Writer,
    Written,
};
pub use toy::ToyModel;
