//! The edge engine through its public face, on tiny random models.

mod chat;
mod detokenise;
mod config;
mod decoder;
mod fixture;
mod loading;
mod parity;
mod router;
mod shards;
mod support;
