//! GGUF, llama.cpp's file format: read (memory-mapped, every length checked before
//! it is used) and written; translated from and to Hugging Face's names and JSON.
//!
//! - [`Gguf`]: a file's metadata and tensors; [`Gguf::config`] and
//!   [`Gguf::tokenizer`] give its `config.json` and `tokenizer.json`,
//!   [`Gguf::weight`] a tensor under its Hugging Face name.
//! - [`Weight`]: rows in Hugging Face's order, as stored or as f32.
//! - [`export`]: a model in Hugging Face's terms to a GGUF file.

mod config;
mod container;
mod error;
mod header;
mod names;
mod quants;
mod source;
mod tokenizer;
mod value;
mod weight;
mod weight_cache;
mod writer;

pub use error::GgufError;
pub use header::{Gguf, Tensor};
pub use quants::Kind;
pub use value::{Array, Value};
pub use weight::Weight;
pub use writer::{NewTensor, export};

pub(crate) use source::{GgufSource, is_gguf};
pub(crate) use weight_cache::WeightCache;
