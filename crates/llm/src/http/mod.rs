//! The LLM over HTTP: configuration, client, boundary rule for texts, and the
//! answer cache that goes before any LLM.
//!
//! | API | one token | many positions in one request | prefix checked by |
//! | --- | --- | --- | --- |
//! | `tokenroute cloud` | `token_ids` | `prompt_logprobs` from `prompt_logprobs_start` | wholly: echoed ids |
//! | vLLM | `token_ids`, or `token_id:N` of older versions | `prompt_logprobs` | wholly: echoed ids; in older versions by count |
//! | SGLang | `output_ids` | `input_top_logprobs` | wholly: a mark in the request's name (`rid`), which the reply repeats; count; echoed ids from the first scored position on |
//! | llama.cpp | `tokens` | no: one request for each | wholly: a mark in the seed, which the reply repeats (drawn tokens: by position alone); count |
//! | any other | text, by the rule of [`Spelling`] | no: one request for each | by count; not at all without `usage` |
//!
//! A mark is a hash of the context: it tells the reply to one request from the reply to
//! another, not that the server read what it was sent. Where a field to check by is missing,
//! what remains is checked.
//!
//! Prompts go as token ids alone; a server that takes only text is refused by its own words.
//!
//! Tested against a running `tokenroute cloud` and a running llama.cpp server
//! (`experiments/llama-cpp/server.py`); the others against replies written by hand after their
//! sources and documentation (`tests/fixtures`). `return_token_ids` came with vLLM 0.10.2;
//! the oldest SGLang that has all that is asked of it is not known.
//!
//! Connections are kept alive. Over TLS (rustls, with the system's certificates and
//! [`HttpConfig::authority`]) HTTP/2 is taken where it is offered, and one connection
//! then carries all calls; over plain HTTP it is spoken if [`HttpConfig::http2`] says so.
//! Completions leave nothing behind on the server, so asking again after a failure is
//! safe. At a temperature, our own server gives what a model in process would; of the
//! others, one token is asked for at a time, with a seed for each call.

mod answers;
mod breaker;
mod client;
mod config;
mod draw;
mod error;
mod spelling;
mod stream;
mod transport;
mod wire;

pub use answers::{Answers, AnswersError, identity};
pub use client::{Http, Server, Traffic};
pub use config::{Api, BreakerConfig, HttpConfig};
pub use error::HttpError;
pub use spelling::Spelling;
