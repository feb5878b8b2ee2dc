//! The pair's tokenizer: byte-level BPE on Qwen2's pre-tokenizer pattern, trained on the task.
//!
//! Plain BPE with merges, so that every library that reads Qwen2 tokenizers gives the same
//! tokens. With about 1,400 tokens, every word of the task is one token.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split as SplitOn, SplitPattern};
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer, TokenizerImpl};
use tokenroute_store::StoreError;

use crate::task::{Generator, TaskSplit};

#[cfg(test)]
mod tests;

/// The token that ends an answer. Also used as padding.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Qwen2's pre-tokenizer: each digit is separate, and a word includes the space before it.
const QWEN2_PATTERN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Longest chunk and largest number of chunks in the cache of [`PairTokenizer`].
const CACHED_CHUNK: usize = 32;
const CACHED_CHUNKS: usize = 1 << 16;

const TOKENIZER_FILE: &str = "tokenizer.json";
const CONFIG_FILE: &str = "tokenizer_config.json";

type Parts<M> =
    TokenizerImpl<M, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>;

/// The tokenizer's training configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenizerConfig {
    /// Most tokens, the 256 bytes and the special token included. Rare words stay in pieces.
    pub vocab_size: usize,
    /// Fewest occurrences of a merged pair.
    pub min_frequency: u64,
    /// Number of pair-training questions to train on.
    pub questions: u64,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { vocab_size: 1400, min_frequency: 2, questions: 10_000 }
    }
}

/// A failure to train, read or write a tokenizer.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The vocabulary is too small for the 256 bytes.
    #[error("vocab_size is {0}; it must be at least 300 to hold the 256 bytes and some words")]
    VocabSize(usize),
    /// The `tokenizers` crate failed.
    #[error("cannot {action}: {source}")]
    Library {
        /// The attempted action.
        action: &'static str,
        /// The library's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] StoreError),
    /// The end token is not in the vocabulary.
    #[error("the end token {END_OF_TEXT} is not in the vocabulary; this is a bug")]
    NoEnd,
    /// A file is not one of this module.
    #[error("{} is not a tokenizer of this pair: {reason}; train it again", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The problem.
        reason: String,
    },
}

fn library(
    action: &'static str,
) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> TokenizerError {
    move |source| TokenizerError::Library { action, source }
}

/// A trained tokenizer. Encoding adds no special tokens.
#[derive(Debug)]
pub struct PairTokenizer {
    inner: Tokenizer,
    eos: u32,
    /// Tokens of earlier chunks. A chunk starts at a space, which no pre-token crosses, so chunks
    /// can be encoded one by one.
    seen: RwLock<HashMap<String, Vec<u32>>>,
}

impl PairTokenizer {
    /// Trains on the first questions of pair training. The same arguments give the same bytes.
    ///
    /// # Errors
    /// If the vocabulary is too small or the library fails.
    pub fn train(generator: &Generator, config: &TokenizerConfig) -> Result<Self, TokenizerError> {
        if config.vocab_size < 300 {
            return Err(TokenizerError::VocabSize(config.vocab_size));
        }
        let texts: Vec<String> = (0..config.questions)
            .flat_map(|i| {
                let question = generator.sample(TaskSplit::PairTrain, i, u32::MAX);
                [question.prompt(), question.cot.unwrap_or_default()]
            })
            .collect();
        let mut trained = assemble(BPE::default())?;
        let mut trainer = BpeTrainer::builder()
            .vocab_size(config.vocab_size - 1)
            .min_frequency(config.min_frequency)
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .show_progress(false)
            .build();
        trained
            .train(&mut trainer, texts.iter().map(String::as_str))
            .map_err(library("train the tokenizer"))?;
        let model = ModelWrapper::BPE(trained.get_model().clone());
        let mut inner = Tokenizer::from(assemble(model)?);
        inner
            .add_special_tokens([AddedToken::from(END_OF_TEXT, true)])
            .map_err(library("add the end token"))?;
        let eos = inner.token_to_id(END_OF_TEXT).ok_or(TokenizerError::NoEnd)?;
        Ok(Self { inner, eos, seen: RwLock::default() })
    }

    /// Reads the tokenizer of a model directory.
    ///
    /// # Errors
    /// If the file is missing, damaged, or has no end token.
    pub fn load(dir: &Path) -> Result<Self, TokenizerError> {
        let path = dir.join(TOKENIZER_FILE);
        let foreign = |reason: String| TokenizerError::Foreign { path: path.clone(), reason };
        let bytes = tokenroute_store::read(&path)?;
        let inner = Tokenizer::from_bytes(bytes).map_err(|e| foreign(e.to_string()))?;
        let eos = inner.token_to_id(END_OF_TEXT);
        let eos = eos.ok_or_else(|| foreign(format!("it has no {END_OF_TEXT}")))?;
        Ok(Self { inner, eos, seen: RwLock::default() })
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json`, each completely or not at all.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        let config = serde_json::json!({
            "add_prefix_space": false,
            "bos_token": null,
            "clean_up_tokenization_spaces": false,
            "eos_token": END_OF_TEXT,
            "model_max_length": 512,
            "pad_token": END_OF_TEXT,
            "tokenizer_class": "PreTrainedTokenizerFast",
            "unk_token": null,
        });
        let config = format!("{config:#}\n");
        let json = self.to_json()?;
        let files = [(TOKENIZER_FILE, json.as_bytes()), (CONFIG_FILE, config.as_bytes())];
        Ok(tokenroute_store::write_all(dir, &files)?)
    }

    /// The content of `tokenizer.json`.
    ///
    /// # Errors
    /// If the library fails.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.inner.to_string(true).map_err(library("write the tokenizer as JSON"))
    }

    /// Number of tokens, the end token included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The end token, also used as padding.
    #[must_use]
    pub fn eos(&self) -> u32 {
        self.eos
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// If the library fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let mut ids = Vec::with_capacity(text.len() / 2);
        for chunk in chunks(text) {
            if let Some(known) = self.seen.read().unwrap_or_else(PoisonError::into_inner).get(chunk)
            {
                ids.extend_from_slice(known);
                continue;
            }
            let encoding =
                self.inner.encode_fast(chunk, false).map_err(library("encode a text"))?;
            ids.extend_from_slice(encoding.get_ids());
            let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
            if chunk.len() <= CACHED_CHUNK && seen.len() < CACHED_CHUNKS {
                seen.insert(chunk.to_owned(), encoding.get_ids().to_vec());
            }
        }
        Ok(ids)
    }

    /// The text of tokens, without special tokens.
    ///
    /// # Errors
    /// If the library fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, true).map_err(library("decode tokens"))
    }
}

/// Splits a text before every single space between two other characters.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let plain = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_graphic);
    let mut from = 0;
    (1..=bytes.len()).filter_map(move |at| {
        let cut = at == bytes.len() || (bytes[at] == b' ' && plain(at - 1) && plain(at + 1));
        cut.then(|| {
            let chunk = &text[from..at];
            from = at;
            chunk
        })
    })
}

/// A tokenizer with Qwen2's normaliser, pre-tokenizer and decoder.
fn assemble<M: tokenizers::Model>(model: M) -> Result<Parts<M>, TokenizerError> {
    let pattern = SplitPattern::Regex(QWEN2_PATTERN.to_owned());
    let split = SplitOn::new(pattern, SplitDelimiterBehavior::Isolated, false)
        .map_err(library("compile the pre-tokenizer"))?;
    let byte_level = ByteLevel::new(false, false, false);
    let mut parts = Parts::new(model);
    parts
        .with_normalizer(Some(NormalizerWrapper::NFC(NFC)))
        .map_err(library("set the normaliser"))?
        .with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(vec![
            PreTokenizerWrapper::Split(split),
            PreTokenizerWrapper::ByteLevel(byte_level),
        ]))))
        .with_post_processor(Some(PostProcessorWrapper::ByteLevel(byte_level)))
        .with_decoder(Some(DecoderWrapper::ByteLevel(byte_level)));
    Ok(parts)
}
