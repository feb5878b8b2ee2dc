//! GGUF, llama.cpp's file format. Reads files through a memory map, with every length
//! checked before use; writes files; translates to and from Hugging Face's names and JSON.
//!
//! - [`Gguf`]: a file's metadata and tensors; [`Gguf::config`] and
//!   [`Gguf::tokenizer`] give its `config.json` and `tokenizer.json`,
//!   [`Gguf::weight`] a tensor under its Hugging Face name.
//! - [`Weight`]: a tensor's rows in Hugging Face's order, as stored or as f32.
//! - [`export`]: writes a model in Hugging Face's terms as a GGUF file.

mod bpe_lists;
mod config;
mod container;
mod error;
mod header;
mod low_bits;
mod names;
mod quants;
mod sentencepiece;
mod source;
mod split;
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

pub(crate) use bpe_lists::{BpeLists, ListedTokenizer};
pub(crate) use source::{GgufSource, is_gguf};
pub(crate) use split::files;
pub(crate) use weight_cache::WeightCache;
