//! The edge engine through its public face, on tiny random models.

mod config;
mod decoder;
mod fixture;
mod loading;
mod parity;
mod router;
mod shards;
mod support;
