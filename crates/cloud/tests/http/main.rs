//! The client, the server and the answer cache over real sockets and files.

mod answers;
mod apis;
mod client;
mod server;
mod stub;
