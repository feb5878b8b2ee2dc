//! Weights on disk: safetensors files whole or in shards, GGUF files, quantised weights
//! kept for the next load, and random weights that need no file.

mod cache_folder;
mod floats;
pub mod gguf;
mod mapped_file;
mod q8_embedding;
mod random;
mod safetensors;
mod shards;
mod source;

pub use cache_folder::cache_folder;
pub use random::RandomModel;

pub(crate) use mapped_file::MappedFile;
pub(crate) use q8_embedding::Q8Embedding;
pub(crate) use safetensors::WeightFile;
pub(crate) use shards::Shards;
pub(crate) use source::{BlockRows, EMBEDDING, HEAD, WeightSource};
