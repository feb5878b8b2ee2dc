//! The client, the server and the answer cache over real sockets and files.

mod answers;
mod apis;
mod cable;
mod client;
mod http2;
mod sampling;
mod server;
mod stream;
mod stub;
