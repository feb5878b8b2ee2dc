//! Text of tokens as they come: never half a character, nothing twice, nothing lost.

use std::ops::Deref;

use tokenroute_core::TokenId;

use super::Tokenizer;
use crate::LoadError;

/// What a decoder writes for bytes that are no character (yet).
const REPLACEMENT: char = char::REPLACEMENT_CHARACTER;
/// Tokens that may wait for the rest of a character. A character has at most four
/// bytes, each of which may be a token of its own; what waits longer is broken.
const MOST_WAITING: usize = 16;

/// Turns a stream of tokens into text. The pieces put together are the text of all
/// tokens; special tokens are left out.
///
/// A decoder's text of a token depends on its neighbours (a leading space, a
/// character split over tokens), so each token is decoded behind those before it.
/// Only a short window of them is kept. The tokenizer is held by reference or by `Arc`.
#[derive(Debug)]
pub struct Detokeniser<T> {
    tokenizer: T,
    /// Tokens already shown that give context, then tokens not wholly shown.
    window: Vec<TokenId>,
    /// How many of the window are context.
    context: usize,
    /// The part of the window's text that has been handed out.
    shown: String,
}

impl<T: Deref<Target = Tokenizer>> Detokeniser<T> {
    /// A stream that has seen nothing.
    #[must_use]
    pub fn new(tokenizer: T) -> Self {
        Detokeniser { tokenizer, window: Vec::new(), context: 0, shown: String::new() }
    }

    /// The text that one more token makes certain; empty while a character is
    /// incomplete.
    ///
    /// # Errors
    /// What `tokenizers` refuses.
    pub fn push(&mut self, token: TokenId) -> Result<String, LoadError> {
        self.window.push(token);
        let text = self.tokenizer.decode(&self.window)?;
        let waiting = self.window.len() - self.context;
        if waiting == 1 && text == self.shown && !self.tokenizer.token_text(token)?.is_empty() {
            // A special token has no part in the text and would only fill the window.
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

    /// What is left at the end of the stream: an incomplete character shows as U+FFFD.
    ///
    /// # Errors
    /// What `tokenizers` refuses.
    pub fn finish(self) -> Result<String, LoadError> {
        let text = self.tokenizer.decode(&self.window)?;
        Ok(text.strip_prefix(self.shown.as_str()).unwrap_or_default().to_owned())
    }

    /// The window's text is `text` and all shown: its new tokens become the context.
    /// Context without text would make the next token look like the first.
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
