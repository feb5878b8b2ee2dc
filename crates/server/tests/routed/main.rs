//! The server as its clients see it, with toy models behind it.

mod answers;
mod doors;
mod limits;
mod listed;
mod liveness;
mod memory;
mod requests;
mod responses;
mod sampling;
mod slow;
mod support;
