//! The LLM over HTTP: configuration, client, boundary rule for texts, and the
//! answer cache that goes before any LLM.

mod answers;
mod breaker;
mod client;
mod config;
mod error;
mod spelling;
mod transport;
mod wire;

pub use answers::{Answers, AnswersError};
pub use client::{Http, Server, Traffic};
pub use config::{Api, BreakerConfig, HttpConfig};
pub use error::HttpError;
pub use spelling::Spelling;
