//! The engine over toy pairs. At any timing its tokens are those of blocking decoding, policies
//! keep their bounds, and sessions are independent.

mod forks;
mod lab;
mod memory;
mod policies;
mod prompts;
mod sampling;
mod separator;
mod sessions;
mod speculation;
mod whole;
