//! Facts about the pair's shared tokenizer that decoding needs: the tokens that end an
//! answer and those that end a sentence.

use crate::TokenId;

/// The token ids of a pair.
///
/// ```
/// use tokenroute_core::Vocabulary;
///
/// // Six ids: 4 and 5 end an answer, 2 ends a sentence.
/// let sentence_ends = vec![false, false, true, false, false, false];
/// let vocabulary = Vocabulary::new(vec![5, 4], sentence_ends, "tokenizer".into());
/// assert_eq!(vocabulary.len(), 6);
/// assert!(vocabulary.ends_sentence(2));
/// assert_eq!(vocabulary.canonical(5), vocabulary.end());
/// assert_eq!(vocabulary.canonical(3), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    ends: Vec<TokenId>,
    sentence_ends: Vec<bool>,
    hash: String,
}

impl Vocabulary {
    /// `ends` holds every token that ends an answer. `sentence_ends[id]` is true for a
    /// token that ends a sentence; its length is the number of token ids. `hash` identifies
    /// the tokenizer.
    #[must_use]
    pub fn new(mut ends: Vec<TokenId>, sentence_ends: Vec<bool>, hash: String) -> Self {
        ends.sort_unstable();
        ends.dedup();
        Vocabulary { ends, sentence_ends, hash }
    }

    /// Whether the token ends the answer. All end tokens count as equal.
    #[must_use]
    pub fn is_end(&self, token: TokenId) -> bool {
        self.ends.binary_search(&token).is_ok()
    }

    /// Replaces any end token by the lowest one. Two models may end an answer with
    /// different tokens and still agree.
    #[must_use]
    pub fn canonical(&self, token: TokenId) -> TokenId {
        if self.is_end(token) { self.ends[0] } else { token }
    }

    /// The lowest end token.
    ///
    /// # Panics
    /// If the pair has no end token. Loading refuses such pairs.
    #[must_use]
    pub fn end(&self) -> TokenId {
        self.ends[0]
    }

    /// Whether the token ends a sentence.
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

    /// Whether there are no token ids.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sentence_ends.is_empty()
    }
}
