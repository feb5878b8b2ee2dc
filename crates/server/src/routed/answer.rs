//! The text of one answer as it grows. Stop strings and the vocabulary's separator end it, and
//! text that may still turn out to be part of one is held back.

use std::sync::Arc;

use tokenroute_core::{LogProbability, TokenId, TraceToken, Vocabulary};
use tokenroute_model::{Detokeniser, LoadError, Tokenizer};

/// A token with its text. A character of several tokens belongs to the last of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenText {
    pub(crate) token: TraceToken,
    pub(crate) text: String,
    /// The small model's log-probability of it, if it is listed.
    pub(crate) listed: Option<LogProbability>,
}

/// The text of an answer under way.
pub(crate) struct AnswerText {
    detokeniser: Detokeniser<Arc<Tokenizer>>,
    vocabulary: Arc<Vocabulary>,
    stops: Vec<String>,
    /// Tokens whose text may be part of a stop string.
    held: Vec<TokenText>,
    stopped: bool,
}

impl AnswerText {
    pub(crate) fn new(
        tokenizer: Arc<Tokenizer>,
        vocabulary: Arc<Vocabulary>,
        mut stops: Vec<String>,
    ) -> Self {
        stops.extend(vocabulary.separator().map(str::to_owned));
        let detokeniser = Detokeniser::new(tokenizer);
        AnswerText { detokeniser, vocabulary, stops, held: Vec::new(), stopped: false }
    }

    /// Adds a token and returns the tokens whose text is final now. After
    /// [`AnswerText::stopped`] no more tokens may be added.
    pub(crate) fn push(
        &mut self,
        token: TraceToken,
        listed: Option<LogProbability>,
    ) -> Result<Vec<TokenText>, LoadError> {
        let text = match self.is_end(token.token) {
            true => String::new(),
            false => self.detokeniser.push(token.token)?,
        };
        self.held.push(TokenText { token, text, listed });
        let text: String = self.held.iter().map(|held| held.text.as_str()).collect();
        if let Some(at) = self.stops.iter().filter_map(|stop| text.find(stop.as_str())).min() {
            self.stopped = true;
            self.cut(at);
            return Ok(self.rest());
        }
        let open = self.stops.iter().map(|stop| open_stop(&text, stop)).max().unwrap_or(0);
        let certain = text.len() - open;
        let mut end = 0;
        let out = self.held.iter().take_while(|held| {
            end += held.text.len();
            end <= certain
        });
        let out = out.count();
        Ok(self.held.drain(..out).collect())
    }

    /// Whether a stop string was found.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// The tokens still held, for the end of the answer. Part of a character is left out.
    pub(crate) fn rest(&mut self) -> Vec<TokenText> {
        std::mem::take(&mut self.held)
    }

    fn is_end(&self, token: TokenId) -> bool {
        self.vocabulary.is_end(token)
    }

    /// Drops the held text from `at` on. The tokens stay: they were made.
    fn cut(&mut self, mut at: usize) {
        for held in &mut self.held {
            let kept = at.min(held.text.len());
            held.text.truncate(kept);
            at -= kept;
        }
    }
}

/// Length in bytes of the longest end of `text` that begins `stop`; `text` does not contain
/// all of `stop`.
fn open_stop(text: &str, stop: &str) -> usize {
    let ends = stop.char_indices().map(|(at, _)| at).filter(|&at| at > 0);
    ends.filter(|&at| text.ends_with(&stop[..at])).max().unwrap_or(0)
}
