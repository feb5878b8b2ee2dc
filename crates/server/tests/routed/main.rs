//! The server as its clients see it, with toy models behind it.

mod answers;
mod doors;
mod limits;
mod liveness;
mod memory;
mod requests;
mod sampling;
mod slow;
mod support;
