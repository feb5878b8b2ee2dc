//! Text of a stream of tokens, in whole characters, without loss or repetition.

use std::ops::Deref;

use tokenroute_core::TokenId;

use super::Tokenizer;
use crate::LoadError;

/// The decoder's output for bytes that are not a character, or not yet.
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;
/// Most tokens that wait for the rest of a character. A character has at most four bytes,
/// each of which may be a token; a longer wait means invalid text.
const MOST_WAITING: usize = 16;

/// Turns a stream of tokens into text. The pieces together are the text of all tokens.
/// Special tokens are left out.
///
/// The text of a token depends on its neighbours: a leading space, a character split over
/// tokens. So each token is decoded after those before it, of which only a short window is
/// kept. The tokenizer is held by reference or by `Arc`.
#[derive(Debug)]
pub struct Detokeniser<T> {
    tokenizer: T,
    /// Tokens already shown, as context, then tokens not wholly shown.
    window: Vec<TokenId>,
    /// Number of context tokens in the window.
    context: usize,
    /// The part of the window's text that was returned.
    shown: String,
}

impl<T: Deref<Target = Tokenizer>> Detokeniser<T> {
    /// An empty stream.
    #[must_use]
    pub fn new(tokenizer: T) -> Self {
        Detokeniser { tokenizer, window: Vec::new(), context: 0, shown: String::new() }
    }

    /// Adds a token and returns the text that is now complete. It is empty while a character
    /// is incomplete.
    ///
    /// # Errors
    /// The errors of `tokenizers`.
    pub fn push(&mut self, token: TokenId) -> Result<String, LoadError> {
        self.window.push(token);
        let text = self.tokenizer.decode(&self.window)?;
        let waiting = self.window.len() - self.context;
        if waiting == 1 && text == self.shown && !self.tokenizer.token_text(token)?.is_empty() {
            // A special token adds no text and would only fill the window.
            self.window.pop();
            return Ok(String::new());
        }
        let broken = waiting > MOST_WAITING;
        let certain = if broken { &text[..] } else { text.trim_end_matches(REPLACEMENT) };
        let new = certain.strip_prefix(self.shown.as_str()).unwrap_or_default().to_owned();
        if broken || certain.len() == text.len() {
            self.slide(text)?;
        } else {
            self.shown.push_str(&new);
        }
        Ok(new)
    }

    /// Ends the stream and returns the rest. An incomplete character becomes U+FFFD.
    ///
    /// # Errors
    /// The errors of `tokenizers`.
    pub fn finish(self) -> Result<String, LoadError> {
        let text = self.tokenizer.decode(&self.window)?;
        Ok(text.strip_prefix(self.shown.as_str()).unwrap_or_default().to_owned())
    }

    /// Makes the window's new tokens the context, once all of its `text` is shown. Context
    /// without text is not dropped, or the next token would decode as the first of a text.
    fn slide(&mut self, text: String) -> Result<(), LoadError> {
        let shown = self.tokenizer.decode(&self.window[self.context..])?;
        if shown.is_empty() {
            self.shown = text;
        } else {
            self.window.drain(..self.context);
            self.shown = shown;
        }
        self.context = self.window.len();
        Ok(())
    }
}
