//! A language model that runs in this process: decoder, KV state, tokenizer, loading, and
//! the router's scorer. The SLM always runs here; the LLM may.
//!
//! Safetensors and GGUF files are mapped into memory. A row's bits must not depend on the
//! batch it is in. candle's matrix product does not promise that, so the arithmetic is this
//! crate's own. Weights are f32, or quantised on `tokenroute-kernels`. Everything between
//! matrices is f32; keys and values may be stored in fewer bits. Equal bits are claimed per build and instruction set.
//!
//! With the feature `devices`, a [`Decoder`] may run on a [`Device`] of candle instead: on the CPU,
//! or with the features `cuda` and `metal` on a GPU. There a row's last bits may depend on its batch.
//!
//! Key types:
//! - [`LoadedModel`]: a decoder with its tokenizer and vocabulary, from [`load_model`].
//! - [`Decoder`]: one decoder for every [`Family`]; implements [`tokenroute_core::LanguageModel`].
//! - [`ModelCard`]: configuration and tokenizer, and the identity of weights that are not loaded.
//! - [`KvState`]: one sequence's keys and values; clones share their prefix.
//! - [`KvType`]: how they are stored: f32, f16 or q8_0.
//! - [`Device`]: where a decoder runs: on the kernels, or on one of candle's devices.
//! - [`Tokenizer`]: text to ids and back; its [`Tokenizer::pair_hash`] identifies a pair.
//! - [`BytewiseTokenizer`]: a tokenizer byte for byte, for pairs with two of them.
//! - [`ChatTemplate`]: messages to a prompt, by the template that comes with the model.
//! - [`Detokeniser`]: a stream of tokens to text, always in whole characters.
//! - [`RouterScorer`]: a router file as a [`tokenroute_core::Scorer`].
//! - [`RandomModel`]: random weights in a real model's shape, to measure speed.
//! - [`FileHashes`]: hashes of files, remembered while the files stay as they are.
//! - [`Linear`]: the row-stable linear layer.
//!
//! Usage:
//! ```no_run
//! use std::path::Path;
//! use tokenroute_core::{Detail, Feed, LanguageModel};
//! use tokenroute_model::{LoadOptions, RouterScorer, check_pair, load_model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // 1. Load the pair. Its tokenizers must agree.
//! let slm = load_model(Path::new("models/slm"), &LoadOptions::default())?;
//! let llm = load_model(Path::new("models/llm"), &LoadOptions::default())?;
//! check_pair(&slm, &llm)?;
//! // 2. Open the router and check that it was trained for this SLM.
//! let router = RouterScorer::open(Path::new("router.safetensors"))?;
//! router.check(slm.decoder.info(), slm.vocabulary.hash())?;
//! // 3. Feed a prompt. The step at its end holds the token and its hidden state.
//! let prompt = slm.tokenizer.encode("Mia has 3 apples.")?;
//! let mut state = slm.decoder.start();
//! let from = prompt.len() - 1;
//! let mut feeds = [Feed { state: &mut state, tokens: &prompt, from }];
//! let steps = slm.decoder.advance(&mut feeds, Detail::Full)?;
//! let token = steps[0][0].token;
//! // 4. Fork the state and feed the token. The parent does not change.
//! let mut fork = state.clone();
//! let mut feeds = [Feed { state: &mut fork, tokens: &[token], from: 0 }];
//! slm.decoder.advance(&mut feeds, Detail::Full)?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "devices")]
mod candle_decoder;
#[cfg(not(feature = "devices"))]
#[path = "no_candle_decoder.rs"]
mod candle_decoder;
mod config;
mod decoder;
mod decoders;
mod device;
mod error;
mod export;
mod file_hashes;
mod hash;
mod json_fields;
mod least_memory;
mod load;
mod model_card;
mod model_files;
pub mod process_memory;
mod router_scorer;
mod text;
mod weights;

pub use config::{Config, Family, Rope, RopeScaling};
pub use decoder::{KvType, Linear, UnknownKvType};
pub use decoders::{Decoder, KvState, continue_greedy};
pub use device::{Device, UnknownDevice};
pub use error::LoadError;
pub use export::export_directory;
pub use file_hashes::FileHashes;
pub use hash::sha256_of_file;
pub use least_memory::least_memory;
pub use load::{
    LoadOptions, LoadedModel, Sha256Of, check_pair, load_decoder, load_decoder_hashed, load_model,
    load_model_hashed,
};
pub use model_card::{ModelCard, files_hash, weights_hash};
pub use router_scorer::RouterScorer;
pub use text::chat::{ChatError, ChatOptions, ChatTemplate, Message};
pub use text::{BytewiseTokenizer, Detokeniser, Tokenizer};
pub use tokenroute_kernels::{Format, Isa};
pub use weights::{RandomModel, cache_folder, gguf};
