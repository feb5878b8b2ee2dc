//! `tokenroute serve`: the routed pair, or a small model alone, behind OpenAI's chat and
//! completions API, with a web page.
//!
//! - [`ServerPair`]: the small model with its tokenizer, and [`ServerLlm`], the LLM with the
//!   router that asks it.
//! - [`ServeConfig`]: limits, and the policy of requests that do not set their own.
//! - [`RoutedService`]: the pair ready to be served.
//!
//! A request is read (`request`) and gets a slot (`worker`). The thread that decodes admits
//! it between turns (`scheduler`) and sends its tokens back (`ticket`). They become text
//! (`answer`, `running`), and the answers to one request become a reply (`answers`, `reply`,
//! `response`).

mod answer;
mod answers;
mod config;
mod metrics;
mod pair;
mod reply;
mod request;
mod response;
mod routes;
mod running;
mod scheduler;
mod served;
mod service;
mod shared;
mod ticket;
mod usage;
mod worker;

pub use config::ServeConfig;
pub use pair::{Announce, ByteMeter, LlmMemory, ServerLlm, ServerPair};
pub use service::RoutedService;
