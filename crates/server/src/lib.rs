//! The routed pair behind an OpenAI-compatible server, and its web page.
//!
//! Key types:
//! - [`Served`]: the small model with its tokenizer, and [`Large`], the large one with
//!   the router that asks it.
//! - [`ServeConfig`]: limits, and the policy of requests that do not say.
//! - [`Service`]: the pair ready to be served.
//!
//! Usage:
//! 1. [`Service::new`] starts the thread that decodes: requests join and leave between
//!    its turns, and the SLM's steps of all of them are one batch.
//! 2. [`Service::start`] binds and answers `/v1/chat/completions`, `/v1/completions`,
//!    `/v1/models`, `/health`, `/metrics` and `/`, the page.
//! 3. [`tokenroute_llm::server::Server::stop`] ends it in order.

mod answer;
mod fields;
mod metrics;
mod page;
mod refusal;
mod reply;
mod request;
mod routes;
mod running;
mod service;
mod worker;

pub use service::{Large, ServeConfig, Served, Service, Traffic};
