//! A model's tokenizer: text to ids and back, and the hashes that identify it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::{OffsetReferential, OffsetType};
use tokenroute_core::{Breaks, TokenId, Vocabulary};

use super::byte_names::ByteLevelTexts;
use super::parts::PARTS;
use super::{BytewiseTokenizer, growth, listed, parts};
use crate::LoadError;
use crate::hash::sha256;
use crate::weights::WeightSource;
use crate::weights::gguf::{GgufSource, ListedTokenizer, is_gguf};

/// A `tokenizer.json`.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    pub(super) path: PathBuf,
    pub(super) inner: tokenizers::Tokenizer,
    /// Hash of each of [`PARTS`].
    parts: [String; 4],
    /// Greatest token id + 1.
    size: usize,
}

/// Most bytes that encoding takes for each byte of a text.
const ENCODING: usize = 512;

/// Most token ids. The largest known vocabularies have a few hundred thousand. Every id up to
/// the greatest is visited, whether or not it has a token.
const MOST_IDS: usize = 4 << 20;

/// Runs the library `tokenizers`. It panics at some damaged files, and with some that it loads.
pub(super) fn unbroken<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> tokenizers::Result<T> {
    const BROKEN: &str = "its parts contradict one another, so that the library `tokenizers` fails";
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(BROKEN.into()))
}

impl Tokenizer {
    /// The tokenizer of a model directory or a GGUF file.
    ///
    /// # Errors
    /// A file that cannot be read or that holds no tokenizer.
    pub fn of_model(path: &Path) -> Result<Self, LoadError> {
        if is_gguf(path) {
            return Tokenizer::of_gguf(&GgufSource::open(path)?, |_| ());
        }
        Tokenizer::read(&path.join("tokenizer.json"))
    }

    /// The `tokenizer.json` beside a GGUF file if there is one, else the file's own. `sized` gets
    /// the number of token ids as soon as it is known.
    ///
    /// # Errors
    /// A tokenizer that is damaged or of an unsupported kind.
    pub(crate) fn of_gguf(file: &GgufSource, sized: impl FnOnce(usize)) -> Result<Self, LoadError> {
        let path = file.path("");
        let beside = path.with_file_name("tokenizer.json");
        if beside.exists() {
            let tokenizer = Tokenizer::read(&beside)?;
            sized(tokenizer.size);
            return Ok(tokenizer);
        }
        let (tokenizer, added) = match file.tokenizer()? {
            ListedTokenizer::Lists(mut lists) => {
                let size = checked_size(path, lists.last())?;
                sized(size);
                let parts = parts::of_lists(&lists);
                let added = lists.rest["added_tokens"].take();
                let inner = inner(path, || listed::tokenizer(lists, &added))?;
                (Tokenizer { path: path.to_owned(), inner, parts, size }, added)
            }
            ListedTokenizer::Whole(mut json) => {
                let (parts, text) = (checked_parts(path, &json)?, json.to_string());
                // Large vocabularies take much memory in each form, so only one is held at a time.
                let added = json.get_mut("added_tokens").map_or(Value::Null, Value::take);
                drop(json);
                let tokenizer = Tokenizer::of_parts(path, parts, text.as_bytes())?;
                sized(tokenizer.size);
                (tokenizer, added)
            }
        };
        // The library ignores the ids of added tokens and numbers them on from the others.
        for token in added.as_array().into_iter().flatten() {
            let content = token["content"].as_str().unwrap_or("");
            if tokenizer.inner.token_to_id(content).map(u64::from) != token["id"].as_u64() {
                return Err(file.misnumbered(content, &token["id"]));
            }
        }
        Ok(tokenizer)
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// A file that cannot be read or that `tokenizers` refuses.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let bytes = std::fs::read(path).map_err(|source| LoadError::Read {
            path: path.to_owned(),
            expected: "a Hugging Face tokenizer.json",
            source,
        })?;
        Tokenizer::parse(path, &bytes)
    }

    /// [`Tokenizer::read`] from bytes. `path` only appears in errors.
    ///
    /// # Errors
    /// Bytes that are not JSON or that `tokenizers` refuses.
    pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, LoadError> {
        let json: Value = serde_json::from_slice(bytes).map_err(|error| LoadError::Json {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        let parts = checked_parts(path, &json)?;
        drop(json);
        Tokenizer::of_parts(path, parts, bytes)
    }

    /// [`Tokenizer::parse`] of bytes whose hashes are known.
    fn of_parts(path: &Path, parts: [String; 4], bytes: &[u8]) -> Result<Self, LoadError> {
        let inner = inner(path, || tokenizers::Tokenizer::from_bytes(bytes))?;
        let vocabulary = inner.get_vocab(true);
        let last = vocabulary.iter().max_by_key(|(_, id)| **id);
        let size = checked_size(path, last.map(|(token, &id)| (token.as_str(), id as usize)))?;
        Ok(Tokenizer { path: path.to_owned(), inner, parts, size })
    }

    /// Most bytes that [`Tokenizer::encode`] takes beside the text.
    #[must_use]
    pub fn memory(text: &str) -> usize {
        ENCODING.saturating_mul(text.len())
    }

    /// Ids of a text; no special tokens are added.
    ///
    /// # Errors
    /// The errors of `tokenizers`.
    pub fn encode(&self, text: &str) -> Result<Vec<TokenId>, LoadError> {
        self.ids(text, false)
    }

    /// Ids of a text at the start of a sequence, with the special tokens that the model
    /// expects around it (a BOS in most cases, or none): Hugging Face's `tokenizer(text)`.
    /// The output of a chat template holds these tokens already.
    ///
    /// # Errors
    /// The errors of `tokenizers`.
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<TokenId>, LoadError> {
        self.ids(text, true)
    }

    fn ids(&self, text: &str, special: bool) -> Result<Vec<TokenId>, LoadError> {
        let encoding = unbroken(|| self.inner.encode(text, special));
        Ok(encoding.map_err(|error| self.error(&*error))?.get_ids().to_vec())
    }

    /// The same tokenizer byte for byte, for a pair whose models have different ones.
    ///
    /// # Errors
    /// A tokenizer that does not spell every text byte for byte.
    pub fn bytewise(&self) -> Result<BytewiseTokenizer, LoadError> {
        BytewiseTokenizer::of(self)
    }

    /// The first special token that a text spells out. Encoding the text would turn these
    /// characters into the control token.
    #[must_use]
    pub fn special_token_in(&self, text: &str) -> Option<String> {
        let added = self.inner.get_added_vocabulary();
        // A normalizer that fails here fails in encoding too.
        let split = unbroken(|| Ok(added.extract_and_normalize(self.inner.get_normalizer(), text)));
        let split = split.ok()?;
        let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let mut ids = splits.iter().filter_map(|(_, _, tokens)| tokens.as_ref()).flatten();
        let tokens = added.get_added_tokens_decoder();
        ids.find_map(|found| Some(tokens.get(&found.id).filter(|t| t.special)?.content.clone()))
    }

    /// Text of ids; special tokens are left out.
    ///
    /// # Errors
    /// The errors of `tokenizers`.
    pub fn decode(&self, ids: &[TokenId]) -> Result<String, LoadError> {
        unbroken(|| self.inner.decode(ids, true)).map_err(|error| self.error(&*error))
    }

    /// Text of one token, special or not. A token that is part of a character gives a
    /// replacement character.
    ///
    /// # Errors
    /// The errors of `tokenizers`.
    pub fn token_text(&self, id: TokenId) -> Result<String, LoadError> {
        unbroken(|| self.inner.decode(&[id], false)).map_err(|error| self.error(&*error))
    }

    /// [`Tokenizer::token_text`] of every token, in order of ids.
    ///
    /// # Errors
    /// The errors of `tokenizers`.
    pub fn token_texts(&self) -> Result<Vec<String>, LoadError> {
        (0..self.size as TokenId).map(|id| self.token_text(id)).collect()
    }

    /// Bytes of the token with the longest text, at least 1. A text of more bytes than this for
    /// each token takes more tokens.
    #[must_use]
    pub fn longest_token(&self) -> usize {
        // The vocabulary's own spelling has two bytes for some bytes of a text, never fewer.
        self.inner.get_vocab(true).keys().map(String::len).max().unwrap_or(0).max(1)
    }

    /// Greatest token id + 1, added tokens included. Further rows of a model are padding.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// SHA-256 over canonical vocabulary, merges, added tokens and pre-tokenizer,
    /// hexadecimal. Files that differ in formatting alone have the same hash.
    #[must_use]
    pub fn pair_hash(&self) -> String {
        sha256(self.parts.concat())
    }

    /// The name of the first part in which two tokenizers differ.
    #[must_use]
    pub fn difference(&self, other: &Tokenizer) -> Option<&'static str> {
        let differing = self.parts.iter().zip(&other.parts).position(|(a, b)| a != b);
        differing.map(|part| PARTS[part])
    }

    /// The vocabulary as decoding needs it.
    ///
    /// # Errors
    /// An end token outside the vocabulary; a token that cannot be decoded.
    pub fn vocabulary(&self, ends: &[TokenId]) -> Result<Vocabulary, LoadError> {
        if let Some(id) = ends.iter().find(|&&id| id as usize >= self.size) {
            let size = self.size;
            return Err(LoadError::Tokenizer {
                path: self.path.clone(),
                message: format!(
                    "end token {id} (eos_token_id) is outside the vocabulary of {size}; correct generation_config.json, config.json or the GGUF file's metadata"
                ),
            });
        }
        let mut texts = ByteLevelTexts::of(&self.inner);
        let breaks = |id: TokenId| match texts.as_mut().and_then(|texts| texts.text(id)) {
            Some(text) => Ok(Breaks::of(&text)),
            None => self.token_text(id).map(|text| Breaks::of(&text)),
        };
        let breaks: Result<Vec<Breaks>, LoadError> =
            (0..self.size as TokenId).map(breaks).collect();
        Ok(Vocabulary::new(ends.to_vec(), breaks?, self.pair_hash()))
    }

    /// A vocabulary in which a text ends an answer too. The text of each token is what it
    /// adds within a text, so that a leading space counts. Part of a character counts as
    /// U+FFFD: a separator is found where it consists of whole characters' tokens.
    ///
    /// # Errors
    /// A token that cannot be decoded.
    pub fn separated(
        &self,
        vocabulary: Vocabulary,
        separator: &str,
    ) -> Result<Vocabulary, LoadError> {
        let mut tokens = self.encode("a")?;
        let before = self.decode(&tokens)?;
        let within = |id: TokenId| {
            tokens.push(id);
            let text = self.decode(&tokens);
            tokens.pop();
            let text = text?;
            Ok(text.strip_prefix(before.as_str()).unwrap_or_default().to_owned())
        };
        let texts: Result<Vec<String>, LoadError> = (0..self.size as TokenId).map(within).collect();
        Ok(vocabulary.with_separator(separator.to_owned(), texts?))
    }

    fn error(&self, error: &(dyn std::error::Error + Send + Sync)) -> LoadError {
        LoadError::Tokenizer { path: self.path.clone(), message: error.to_string() }
    }
}

/// The hashes of a tokenizer's parts. One whose steps make too much of a text is refused.
fn checked_parts(path: &Path, json: &Value) -> Result<[String; 4], LoadError> {
    growth::check(json).map_err(|message| unusable(path, message))?;
    Ok(parts::of_json(json))
}

/// Makes the library's tokenizer. `path` only appears in errors.
fn inner(
    path: &Path,
    make: impl FnOnce() -> tokenizers::Result<tokenizers::Tokenizer>,
) -> Result<tokenizers::Tokenizer, LoadError> {
    let bad = |error: tokenizers::Error| unusable(path, error.to_string());
    let mut inner = unbroken(make).map_err(bad)?;
    // A file may ask for truncation and padding. transformers ignores both unless its
    // caller asks, and so must every encoding here.
    inner.with_truncation(None).map_err(bad)?;
    inner.with_padding(None);
    Ok(inner)
}

/// The number of token ids, from the token with the greatest one.
fn checked_size(path: &Path, last: Option<(&str, usize)>) -> Result<usize, LoadError> {
    match last {
        Some((token, id)) if id >= MOST_IDS => {
            let what = format!("token {token:?} has id {id}; expected ids below {MOST_IDS}");
            Err(unusable(path, what))
        }
        last => Ok(last.map_or(0, |(_, id)| id + 1)),
    }
}

fn unusable(path: &Path, message: String) -> LoadError {
    LoadError::Tokenizer { path: path.to_owned(), message }
}
