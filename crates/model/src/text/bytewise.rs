//! A tokenizer byte for byte: what a model with another tokenizer reads and writes.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;
use tokenizers::NormalizerWrapper;
use tokenroute_core::{ModelError, Spelled, Speller, TokenId};

use super::Tokenizer;
use super::byte_names::byte_names;
use super::tokenizer::unbroken;
use crate::LoadError;

/// Texts that a tokenizer must spell to be used: a space at the start and within, lines,
/// letters and symbols of several bytes, upper case, numbers.
const PROBES: [&str; 6] = ["a", " a", "Ab c's 1.5%", "\n\n  x\t", "é ñ 中文", "🍎🍏 <|a|>"];

/// Characters after the first pre-token that decide where it ends. A pre-tokenizer's pattern looks
/// at most three characters ahead: the apostrophe of a contraction and two letters.
const AHEAD: usize = 3;

/// Characters after the first token that count as enough where there are no pre-tokens. BPE
/// sets no bound there.
const AHEAD_UNDIVIDED: usize = 32;

/// A [`Tokenizer`] as a [`Speller`]. It spells special tokens as text and does not normalise
/// characters, so that its tokens have the bytes of the text.
#[derive(Debug, Clone)]
pub struct BytewiseTokenizer {
    path: PathBuf,
    inner: tokenizers::Tokenizer,
    /// Bytes of each token.
    bytes: Vec<Box<[u8]>>,
    /// Texts of added tokens that are not special. They are found before pre-tokens are.
    added: Vec<String>,
    /// Whether texts are divided into pre-tokens, beyond which no merge goes.
    divides: bool,
}

impl BytewiseTokenizer {
    pub(super) fn of(tokenizer: &Tokenizer) -> Result<Self, LoadError> {
        let refuse =
            |message: String| LoadError::Tokenizer { path: tokenizer.path.clone(), message };
        let mut inner = tokenizer.inner.clone();
        inner.set_encode_special_tokens(true);
        let normalizer = json_of(inner.get_normalizer());
        if only_composes(&normalizer) {
            inner
                .with_normalizer(None::<NormalizerWrapper>)
                .map_err(|error| refuse(error.to_string()))?;
        }
        let byte_level = mentions(&json_of(inner.get_decoder()), "ByteLevel");
        let names: HashMap<char, u8> = byte_names().zip(0..=255).collect();
        let tokens = inner.get_added_tokens_decoder();
        let bytes_of = |id: TokenId| -> Box<[u8]> {
            if let Some(token) = tokens.get(&id) {
                let text = if token.special { "" } else { &token.content };
                // SentencePiece lists runs of spaces among added tokens.
                let text = if byte_level { text.to_owned() } else { text.replace('▁', " ") };
                return text.into_bytes().into();
            }
            let name = inner.id_to_token(id).unwrap_or_default();
            if byte_level {
                // A token with another character is in no text.
                let bytes = name.chars().map(|c| names.get(&c).copied()).collect::<Option<_>>();
                return bytes.unwrap_or_default();
            }
            match byte_of(&name) {
                Some(byte) => Box::new([byte]),
                None => name.replace('▁', " ").into_bytes().into(),
            }
        };
        let bytes = (0..tokenizer.size() as TokenId).map(bytes_of).collect();
        let added = tokens.values().filter(|token| !token.special);
        let added = added.map(|token| token.content.clone()).collect();
        let path = tokenizer.path.clone();
        let mut made = BytewiseTokenizer { path, inner, bytes, added, divides: true };
        for probe in PROBES {
            made.spell(probe).map_err(|error| {
                refuse(format!("{error}; a pair of two tokenizers needs one that does"))
            })?;
        }
        made.divides = made.words("a b c").is_ok_and(|(_, first)| first < "a b c".len());
        Ok(made)
    }

    /// Tokens of a text, and the bytes of its first pre-token.
    fn words(&self, text: &str) -> Result<(Vec<TokenId>, usize), ModelError> {
        let encoding = unbroken(|| self.inner.encode(text, false));
        let encoding = encoding.map_err(|error| self.fault(error.to_string()))?;
        let tokens = encoding.get_ids().to_vec();
        if self.bytes_of(&tokens) != text.as_bytes() {
            return Err(self.fault(format!("its tokens do not spell {text:?} byte for byte")));
        }
        let words = encoding.get_word_ids();
        let first = words.iter().take_while(|word| **word == words[0]).count();
        let first = self.bytes_of(&tokens[..first]).len();
        Ok((tokens, first))
    }

    /// Whether the tokens before `end` stay, whatever follows the text.
    fn settled(&self, text: &str, end: usize) -> bool {
        let rest = text.get(end..).unwrap_or_default();
        let enough = match self.divides {
            // White space at the end may still become part of a longer run.
            true => rest.chars().count() >= AHEAD && !rest.trim().is_empty(),
            false => rest.chars().count() >= AHEAD_UNDIVIDED,
        };
        let begins_added = |(at, _): (usize, char)| {
            let tail = &text[at..];
            self.added.iter().any(|added| added.len() > tail.len() && added.starts_with(tail))
        };
        enough && !text.char_indices().take_while(|(at, _)| *at < end).any(begins_added)
    }

    fn fault(&self, message: String) -> ModelError {
        ModelError::Backend { model: self.path.display().to_string(), message }
    }
}

impl Speller for BytewiseTokenizer {
    fn bytes(&self, token: TokenId) -> &[u8] {
        self.bytes.get(token as usize).map_or(&[], |bytes| bytes)
    }

    fn size(&self) -> usize {
        self.bytes.len()
    }

    fn spell(&self, text: &str) -> Result<Spelled, ModelError> {
        let (tokens, mut end) = self.words(text)?;
        if !self.divides {
            end = tokens.first().map_or(0, |&token| self.bytes(token).len());
        }
        Ok(Spelled { settled: self.settled(text, end), tokens })
    }
}

/// A part of a tokenizer as in `tokenizer.json`.
fn json_of<T: serde::Serialize>(part: Option<&T>) -> Value {
    part.and_then(|part| serde_json::to_value(part).ok()).unwrap_or(Value::Null)
}

/// Whether a part of `tokenizer.json`, or one within it, is of this type.
fn mentions(part: &Value, kind: &str) -> bool {
    match part {
        Value::Object(fields) => {
            fields.get("type").is_some_and(|named| named == kind)
                || fields.values().any(|value| mentions(value, kind))
        }
        Value::Array(items) => items.iter().any(|item| mentions(item, kind)),
        _ => false,
    }
}

/// Whether a normalizer does nothing but put characters into a Unicode normal form.
fn only_composes(normalizer: &Value) -> bool {
    match normalizer["type"].as_str() {
        Some("NFC" | "NFD" | "NFKC" | "NFKD") => true,
        Some("Sequence") => normalizer["normalizers"]
            .as_array()
            .is_some_and(|all| !all.is_empty() && all.iter().all(only_composes)),
        _ => false,
    }
}

/// The byte that a SentencePiece token such as `<0x0A>` stands for.
fn byte_of(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}
