//! Token-level routing between a small model on the device (SLM) and a large one in the
//! cloud (LLM), for a Rust program to embed.
//!
//! The SLM decodes. A router scores every token of it; a token that scores below the
//! threshold τ is replaced by the LLM's. The LLM runs in this process or on a server.
//!
//! ```no_run
//! use tokenroute::RoutedPair;
//!
//! # fn main() -> Result<(), tokenroute::Error> {
//! let pair = RoutedPair::builder("models/word-problems-slm")
//!     .llm("models/word-problems-llm") // a folder, a GGUF file, hf:…, or a server's URL
//!     .router("router.safetensors")
//!     .tau(0.5)
//!     .open()?;
//! let answer = pair.generate("Mia has 3 apples.", |token| print!("{}", token.text))?;
//! println!("{:.1}% offloaded", 100.0 * answer.offload_ratio());
//! # Ok(())
//! # }
//! ```
//!
//! Key types:
//! - [`RoutedPair`]: an open pair, or an SLM alone. Its builder takes all options.
//! - [`Token`]: a token as it is committed, with its text and its origin.
//! - [`Answer`]: the text of an answer and the record of every token.
//! - [`Decoding`]: τ and everything else that an answer is decoded by.
//! - [`Error`]: the value, the expectation and the remedy.
//!
//! Usage:
//! 1. [`RoutedPair::builder`] names the models and the router; `open` loads them.
//! 2. [`RoutedPair::generate`] answers a text, [`RoutedPair::chat`] a conversation,
//!    [`RoutedPair::answer`] token ids; all of them stream.
//! 3. [`RoutedPair::answer_all`] answers many prompts in batches.
//! 4. [`RoutedPair::engine`] decodes sessions that come and go, as a server does.
//!
//! The examples of this crate are whole programs: `generate`, `stream`, `custom_scorer` and
//! `sweep_tiny`.
//!
//! Features: `cli` is the command `tokenroute`, `server` serves a pair over HTTP, `lab`
//! labels, trains, sweeps and reports (`flex`, `ndarray` and `wgpu` are the backends of
//! training). A program that only decodes needs none of them:
//! `cargo add tokenroute --no-default-features`.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod model_source;
mod pair;
mod token_stream;

pub use error::Error;
pub use model_source::{load_named, load_named_decoder, load_options, short_name};
pub use pair::{Answer, Decoding, RoutedPair, RoutedPairBuilder};
pub use token_stream::{Token, TokenStream};

pub use tokenroute_core::{
    Curve, Origin, Position, Progress, Question, Sampling, Score, ScoreError, Scorer, Silent, Step,
    Tau, TokenId, Trace, TraceToken, grade,
};
pub use tokenroute_llm::ApiKey;
pub use tokenroute_llm::http::{Api, Bill, SpendLimit, TextApi, TokenPrices};
pub use tokenroute_model::{Device, Format, KvType, Message};
pub use tokenroute_runtime::{Budget, Policy, Request, Wait};

#[cfg(feature = "lab")]
pub use {tokenroute_lab as lab, tokenroute_label as label, tokenroute_sweep as sweep};
