//! The bundled pair: task generator, tokenizer, Burn transformer, training, export.

pub mod card;
pub mod config;
pub mod error;
pub mod export;
mod files;
pub mod model;
pub mod task;
pub mod tokenizer;
pub mod training;
