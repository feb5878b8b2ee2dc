//! Text to tokens and back, in the model's vocabulary.

use tokenroute_core::TokenId;
use tokenroute_model::{Detokeniser, LoadError, Tokenizer};

/// Text to tokens and back. Errors are messages for the client.
pub trait Texts: Send + Sync {
    /// Tokens of a prompt, with the special ones that its tokenizer puts before it.
    ///
    /// # Errors
    /// A text that the tokenizer refuses.
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, String>;

    /// Text of tokens. Special tokens are left out; U+FFFD stands for part of a character.
    ///
    /// # Errors
    /// Tokens that the tokenizer refuses.
    fn decode(&self, ids: &[TokenId]) -> Result<String, String>;

    /// Bytes of the token with the longest text.
    fn longest_token(&self) -> usize;

    /// Text of one token, special or not.
    ///
    /// # Errors
    /// A token that the tokenizer refuses.
    fn token(&self, id: TokenId) -> Result<String, String>;

    /// What each token adds to the text of those before it, special ones included. A character
    /// of several tokens belongs to the last of them. As provided, every token is whole
    /// characters.
    ///
    /// # Errors
    /// A token that the tokenizer refuses.
    fn pieces(&self, ids: &[TokenId]) -> Result<Vec<String>, String> {
        ids.iter().map(|&id| self.token(id)).collect()
    }
}

impl Texts for Tokenizer {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, String> {
        self.encode_prompt(text).map_err(|error| error.to_string())
    }

    fn decode(&self, ids: &[TokenId]) -> Result<String, String> {
        Tokenizer::decode(self, ids).map_err(|error| error.to_string())
    }

    fn longest_token(&self) -> usize {
        Tokenizer::longest_token(self)
    }

    fn token(&self, id: TokenId) -> Result<String, String> {
        self.token_text(id).map_err(|error| error.to_string())
    }

    fn pieces(&self, ids: &[TokenId]) -> Result<Vec<String>, String> {
        let text = |error: LoadError| error.to_string();
        let mut detokeniser = Detokeniser::new(self);
        let mut pieces = Vec::with_capacity(ids.len());
        for &id in ids {
            let mut piece = detokeniser.push(id).map_err(text)?;
            // The stream leaves special tokens out.
            if piece.is_empty() && Tokenizer::decode(self, &[id]).map_err(text)?.is_empty() {
                piece = self.token_text(id).map_err(text)?;
            }
            pieces.push(piece);
        }
        if let Some(last) = pieces.last_mut() {
            last.push_str(&detokeniser.finish().map_err(text)?);
        }
        Ok(pieces)
    }
}
