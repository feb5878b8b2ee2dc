//! The crate's public interface, on tiny random models.

#[cfg(feature = "devices")]
mod candle;
mod chat;
mod chat_stack;
mod config;
mod decoder;
mod detokenise;
mod fixture;
mod kv;
mod loading;
mod parity;
mod quantised;
mod random;
mod router;
mod shards;
mod support;
mod tokenizer;
