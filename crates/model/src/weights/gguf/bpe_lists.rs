//! A BPE tokenizer as a GGUF file lists it. Vocabulary and merges borrow from the file, so that a
//! large vocabulary need not become JSON before it is a tokenizer.

use serde_json::Value as Json;

use super::GgufError;
use super::tokenizer::TOKENS;

/// Tokens with their ids, in alphabetical order.
pub(super) type Listed<'a> = Vec<(&'a str, usize)>;

/// The tokenizer of a file.
#[derive(Debug)]
pub(crate) enum ListedTokenizer<'a> {
    /// A whole `tokenizer.json`.
    Whole(Json),
    /// The file's own lists.
    Lists(BpeLists<'a>),
}

/// A vocabulary with its merges, and the rest of the `tokenizer.json`.
#[derive(Debug)]
pub(crate) struct BpeLists<'a> {
    /// The `tokenizer.json`, whose `model` has neither `vocab` nor `merges`.
    pub(crate) rest: Json,
    /// Tokens with their ids, in alphabetical order.
    pub(crate) vocabulary: Vec<(&'a str, usize)>,
    /// Pairs of tokens that become one, the first ones first.
    pub(crate) merges: Vec<(&'a str, &'a str)>,
}

impl BpeLists<'_> {
    /// The token with the greatest id, added ones included.
    pub(crate) fn last(&self) -> Option<(&str, usize)> {
        let added = self.rest["added_tokens"].as_array().into_iter().flatten();
        let added = added.filter_map(|token| {
            Some((token["content"].as_str()?, usize::try_from(token["id"].as_u64()?).ok()?))
        });
        self.vocabulary.iter().copied().chain(added).max_by_key(|(_, id)| *id)
    }
}

impl From<ListedTokenizer<'_>> for Json {
    /// The `tokenizer.json`.
    fn from(tokenizer: ListedTokenizer<'_>) -> Json {
        let BpeLists { mut rest, vocabulary, merges } = match tokenizer {
            ListedTokenizer::Whole(json) => return json,
            ListedTokenizer::Lists(lists) => lists,
        };
        let vocabulary = vocabulary.into_iter().map(|(token, id)| (token.to_owned(), id.into()));
        rest["model"]["vocab"] = Json::Object(vocabulary.collect());
        rest["model"]["merges"] = merges.into_iter().map(|(l, r)| Json::from([l, r])).collect();
        rest
    }
}

/// Puts tokens in alphabetical order.
///
/// # Errors
/// A token that is listed twice.
pub(super) fn sorted(tokens: Vec<(&str, usize)>) -> Result<Vec<(&str, usize)>, GgufError> {
    // Most tokens differ in their first bytes, which a number compares at once.
    let first_bytes = |token: &str| {
        let mut bytes = [0; 8];
        let length = token.len().min(bytes.len());
        bytes[..length].copy_from_slice(&token.as_bytes()[..length]);
        u64::from_be_bytes(bytes)
    };
    let mut keyed: Vec<_> = tokens.into_iter().map(|entry| (first_bytes(entry.0), entry)).collect();
    keyed.sort_unstable();
    if let Some(twice) = keyed.windows(2).find(|pair| pair[0].1.0 == pair[1].1.0) {
        return Err(GgufError::value(TOKENS, format!("{:?} twice", twice[0].1.0), "once each"));
    }
    Ok(keyed.into_iter().map(|(_, entry)| entry).collect())
}
