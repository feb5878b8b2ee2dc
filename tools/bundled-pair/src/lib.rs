//! Makes the bundled pair: task generator, tokenizer, transformer in Burn, training, export.

pub mod card;
pub mod config;
pub mod error;
pub mod export;
mod files;
pub mod model;
pub mod task;
pub mod tokenizer;
pub mod training;
