//! What decoding must know of the pair's shared tokenizer: where answers end
//! and where sentences do.

use crate::TokenId;

/// Facts about the token ids of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    ends: Vec<TokenId>,
    sentence_ends: Vec<bool>,
    hash: String,
}

impl Vocabulary {
    /// `ends` are all tokens that close an answer; `sentence_ends[id]` tells
    /// whether a token closes a sentence; `hash` identifies the tokenizer.
    #[must_use]
    pub fn new(mut ends: Vec<TokenId>, sentence_ends: Vec<bool>, hash: String) -> Self {
        ends.sort_unstable();
        ends.dedup();
        Vocabulary { ends, sentence_ends, hash }
    }

    /// Whether the token closes the answer. All end tokens are equal.
    #[must_use]
    pub fn is_end(&self, token: TokenId) -> bool {
        self.ends.binary_search(&token).is_ok()
    }

    /// The least end token: every end token is replaced by it, so that two
    /// models that end an answer differently still agree.
    #[must_use]
    pub fn canonical(&self, token: TokenId) -> TokenId {
        if self.is_end(token) { self.ends[0] } else { token }
    }

    /// The least end token.
    ///
    /// # Panics
    /// If the pair has no end token, which loading refuses.
    #[must_use]
    pub fn end(&self) -> TokenId {
        self.ends[0]
    }

    /// Whether the token closes a sentence.
    #[must_use]
    pub fn ends_sentence(&self, token: TokenId) -> bool {
        self.sentence_ends.get(token as usize).copied().unwrap_or(false)
    }

    /// Hash of the tokenizer, hexadecimal.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Number of token ids.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sentence_ends.len()
    }

    /// Whether there are no tokens at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sentence_ends.is_empty()
    }
}
