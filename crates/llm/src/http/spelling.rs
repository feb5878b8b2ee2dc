//! The boundary rule for servers that answer with text alone.

use std::collections::HashMap;

use tokenroute_core::{LlmError, TokenId};

/// Which token a text is.
///
/// A server asked for one token answers with the text of one token. It is taken
/// only if exactly one token of the vocabulary has exactly that text, spaces
/// included, and the text is whole (a token that is part of a character shows
/// as U+FFFD). Text is never tokenised again: " 1" and "2" must not become
/// " 12", and two tokens of one text must not be guessed between.
#[derive(Debug, Clone, Default)]
pub struct Spelling {
    tokens: HashMap<String, Option<TokenId>>,
}

impl Spelling {
    /// From the text of every token, in order of ids.
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

    /// The one token with this text.
    ///
    /// # Errors
    /// A text that no token has, that several have, or that is part of a character.
    pub fn token(&self, text: &str) -> Result<TokenId, LlmError> {
        let reason = match self.tokens.get(text) {
            Some(Some(token)) => return Ok(*token),
            Some(None) => "is the text of several tokens",
            None => "is not the text of one token",
        };
        Err(LlmError::BadReply(format!("{text:?} {reason}; use a server that answers token ids")))
    }
}
