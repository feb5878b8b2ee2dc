//! The rule that turns a text into a token, for servers that answer with text alone.

use std::collections::HashMap;

use tokenroute_core::{LlmError, TokenId};

/// Maps texts to tokens.
///
/// A server that is asked for one token answers with its text. The text is accepted only if
/// exactly one token of the vocabulary has it, spaces included. It must not contain part of a
/// character, which shows as U+FFFD. Text is never tokenised again: " 1" and "2" must not
/// become " 12", and there is no guess between two tokens of one text.
#[derive(Debug, Clone, Default)]
pub struct Spelling {
    tokens: HashMap<String, Option<TokenId>>,
}

impl Spelling {
    /// A map from the text of every token, in order of ids.
    #[must_use]
    pub fn new(texts: impl IntoIterator<Item = String>) -> Self {
        let mut tokens = HashMap::new();
        for (id, text) in (0..).zip(texts) {
            if !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER) {
                tokens.entry(text).and_modify(|known| *known = None).or_insert(Some(id));
            }
        }
        Spelling { tokens }
    }

    /// The only token with this text.
    ///
    /// # Errors
    /// A text of no token, of several tokens, or of part of a character.
    pub fn token(&self, text: &str) -> Result<TokenId, LlmError> {
        let reason = match self.tokens.get(text) {
            Some(Some(token)) => return Ok(*token),
            Some(None) => "is the text of several tokens",
            None => "is not the text of one token",
        };
        Err(LlmError::BadReply(format!("{text:?} {reason}; use a server that answers token ids")))
    }
}
