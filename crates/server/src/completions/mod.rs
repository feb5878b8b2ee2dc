//! `tokenroute cloud`: a local model behind OpenAI's completions API, the LLM's side of a
//! pair on two machines.
//!
//! - [`CompletionService`]: a model ready to be served.
//! - [`BatchConfig`]: limits of its batch.
//! - [`Texts`]: text to tokens and back.
//!
//! A request is read (`request`), its prompts join the batch (`batcher`), and their events
//! become a reply (`running`, `reply`).

mod batcher;
mod model;
mod reply;
mod request;
mod routes;
mod running;
mod score;
mod sequence;
mod service;
mod texts;

pub use batcher::BatchConfig;
pub use service::CompletionService;
pub use texts::Texts;
