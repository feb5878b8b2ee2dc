//! A tokenizer as one of another kind meets it: bytes of tokens, and tokens of a text. Models
//! with different tokenizers share text alone.

use crate::{ModelError, TokenId};

/// A text in tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spelled {
    /// Tokens whose bytes together are the text.
    pub tokens: Vec<TokenId>,
    /// Whether the first token stays the first, whatever text follows.
    pub settled: bool,
}

/// Spells texts in tokens and tokens in bytes, without loss.
pub trait Speller: Send + Sync {
    /// Bytes that a token adds to a text. They may be a part of a character. Special tokens and
    /// ids outside the vocabulary have none.
    fn bytes(&self, token: TokenId) -> &[u8];

    /// Greatest token id + 1.
    fn size(&self) -> usize;

    /// The tokens of a text. A text that spells a special token stays text.
    ///
    /// # Errors
    /// A text that these tokens cannot spell byte for byte.
    fn spell(&self, text: &str) -> Result<Spelled, ModelError>;

    /// Bytes of some tokens.
    fn bytes_of(&self, tokens: &[TokenId]) -> Vec<u8> {
        tokens.iter().flat_map(|&token| self.bytes(token)).copied().collect()
    }
}

/// Number of bytes at the end that begin a character and do not complete it. Bytes that can
/// never become a character do not count.
///
/// ```
/// use tokenroute_core::unfinished;
///
/// assert_eq!(unfinished("é".as_bytes()), 0);
/// assert_eq!(unfinished(&"aé".as_bytes()[..2]), 1);
/// assert_eq!(unfinished(&[b'a', 0xff]), 0);
/// ```
#[must_use]
pub fn unfinished(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(_) => return 0,
            Err(error) => match error.error_len() {
                None => return rest.len() - error.valid_up_to(),
                Some(bad) => rest = &rest[error.valid_up_to() + bad..],
            },
        }
    }
}
