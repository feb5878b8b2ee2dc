//! A routed pair for programs in other languages: a C interface over the runtime, with the header
//! `include/tokenroute.h`.
//!
//! - [`types`]: the values that cross the border: options, messages, tokens, statuses.
//! - [`api`]: the functions: open, begin, step, stream, cancel, close, last error.
//!
//! Usage, in C:
//! 1. `tr_options_default`, then `tr_open` loads the models.
//! 2. `tr_begin` or `tr_begin_chat` starts an answer on a thread of its own.
//! 3. `tr_step` waits for one token, `tr_stream` passes all of them to a function.
//! 4. `tr_answer_close` and `tr_close` free both.
//!
//! No panic crosses the border: it becomes [`types::TR_ERROR`], and `tr_last_error` describes it.

mod answer;
pub mod api;
mod border;
mod callback;
mod fault;
mod pair;
pub mod types;
