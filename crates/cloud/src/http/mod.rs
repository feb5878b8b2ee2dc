//! The LLM over HTTP: configuration, client, boundary rule for texts, and the
//! answer cache that goes before any LLM.
//!
//! | API | one token | many positions in one request | prefix checked by |
//! | --- | --- | --- | --- |
//! | `tokenroute cloud` | `token_ids` | `prompt_logprobs` from `prompt_logprobs_start` | echoed ids |
//! | vLLM | `token_ids`, or `token_id:N` of older versions | `prompt_logprobs` | echoed ids, or their count |
//! | SGLang | `output_ids` | `input_top_logprobs` | echoed ids when scoring, else their count |
//! | llama.cpp | `tokens` | no: one request for each | count |
//! | any other | text, by the rule of [`Spelling`] | no: one request for each | count |
//!
//! Tested against a running `tokenroute cloud` and a running llama.cpp server
//! (`experiments/llama-cpp/server.py`); the others against replies written after their
//! sources (`tests/fixtures`).
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

pub use answers::{Answers, AnswersError};
pub use client::{Http, Server, Traffic};
pub use config::{Api, BreakerConfig, HttpConfig};
pub use error::HttpError;
pub use spelling::Spelling;
