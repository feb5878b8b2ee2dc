//! The LLM over HTTP: configuration, client, the rule for servers that answer with text
//! alone, and the answer cache, which works for any LLM.
//!
//! | API | one token | many positions in one request | prefix checked by |
//! | --- | --- | --- | --- |
//! | `tokenroute cloud` | `token_ids` | `prompt_logprobs` from `prompt_logprobs_start` | wholly: echoed ids |
//! | vLLM | `token_ids`, or `token_id:N` of older versions | `prompt_logprobs` | wholly: echoed ids; in older versions by count |
//! | SGLang | `output_ids` | `input_top_logprobs` | wholly: a mark in the request's name (`rid`), which the reply repeats; count; echoed ids from the first scored position on |
//! | llama.cpp | `tokens` | no: one request for each | wholly: a mark in the seed, which the reply repeats (drawn tokens: by position alone); count |
//! | any other | text, by the rule of [`Spelling`] | no: one request for each | by count; not at all without `usage` |
//!
//! A mark is a hash of the context. It detects the reply to another request, but does not
//! prove that the server read the context. If a reply lacks a field, the other checks remain.
//!
//! With these APIs, prompts are sent as token ids alone. [`TextServer`] is for servers that accept
//! only text ([`TextApi`]). [`Http::find`] finds out what a server takes.
//!
//! Tested against a running `tokenroute cloud` and a running llama.cpp server
//! (`experiments/llama-cpp/server.py`). The other APIs are tested against replies written by
//! hand from their sources and documentation (`tests/fixtures`). `return_token_ids` came with
//! vLLM 0.10.2; the oldest SGLang that supports all fields used here is not known.
//!
//! Connections are kept alive. Over TLS (rustls, with the system's certificates and
//! [`HttpConfig::authority`]) HTTP/2 is used if the server offers it; one connection then
//! carries all calls. Over plain HTTP, [`HttpConfig::http2`] switches it on. Completions leave
//! no state on the server, so retries are safe. At a temperature, our own server draws as a
//! model in process does. Other servers are asked for one token at a time, with a seed for
//! each call.

mod answers;
mod breaker;
mod chat;
mod client;
mod config;
mod draw;
mod error;
mod hedge;
mod spelling;
mod spend;
mod stream;
mod text;
mod transport;
mod wire;

pub use answers::{Answers, AnswersError, identity};
pub use client::{Found, Http, PROBE, ServerInfo, Takes, Traffic};
pub use config::{Api, BreakerConfig, HttpConfig};
pub use error::HttpError;
pub use spelling::Spelling;
pub use spend::{Bill, SpendLimit, TokenPrices};
pub use text::{TextApi, TextApis, TextServer, WholeAnswers};
