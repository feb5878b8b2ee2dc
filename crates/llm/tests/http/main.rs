//! The client and the answer cache over real sockets and files, against a scripted server.

mod answers;
mod apis;
mod client;
mod damaged;
mod find;
mod sampling;
mod stream;
mod stub;
mod texts;
mod whole;
