//! The completions server as our own client sees it, with toy models behind it.

mod cable;
mod echo;
mod http2;
mod liveness;
mod memory;
mod overload;
mod sampling;
mod server;
mod stream;
mod support;
