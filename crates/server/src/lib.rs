//! Two servers on one HTTP layer: `tokenroute cloud` serves the LLM of a pair, `tokenroute
//! serve` the routed pair with its web page.
//!
//! - [`completions`]: a local model behind OpenAI's completions API.
//! - [`routed`]: the pair behind OpenAI's chat and completions API.
//! - [`watch`]: the page that follows a running experiment.
//! - [`net`]: sockets, connection limits, access checks, refusals, OpenAI's shapes.
//!
//! Usage:
//! 1. [`completions::CompletionService::new`] or [`routed::RoutedService::new`] starts the
//!    thread that decodes. Requests join and leave its batch between steps.
//! 2. `start` binds and answers.
//! 3. [`net::Server::stop`] shuts down in order.

pub mod completions;
pub mod net;
pub mod routed;
pub mod watch;
