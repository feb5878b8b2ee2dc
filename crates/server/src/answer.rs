//! One answer as it grows: tokens become text, stop strings end it, and nothing
//! leaves that a stop string might still take back.

use std::sync::Arc;

use tokenroute_core::{TokenId, TraceToken, Vocabulary};
use tokenroute_model::{Detokeniser, LoadError, Tokenizer};

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// An end token, or a stop string.
    Stop,
    /// The limit of tokens.
    Length,
}

impl Finish {
    /// OpenAI's word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
        }
    }
}

/// One token with the text it made certain. Where a character spans several
/// tokens, it belongs to the last of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Piece {
    pub(crate) token: TraceToken,
    pub(crate) text: String,
}

/// An answer on its way.
pub(crate) struct Answer {
    detokeniser: Detokeniser<Arc<Tokenizer>>,
    vocabulary: Arc<Vocabulary>,
    stops: Vec<String>,
    /// Pieces in whose text a stop string may have begun.
    held: Vec<Piece>,
    stopped: bool,
}

impl Answer {
    pub(crate) fn new(
        tokenizer: Arc<Tokenizer>,
        vocabulary: Arc<Vocabulary>,
        stops: Vec<String>,
    ) -> Self {
        let detokeniser = Detokeniser::new(tokenizer);
        Answer { detokeniser, vocabulary, stops, held: Vec::new(), stopped: false }
    }

    /// Takes one token in and gives out the pieces that are certain now. Once
    /// [`Answer::stopped`], nothing more may come.
    pub(crate) fn push(&mut self, token: TraceToken) -> Result<Vec<Piece>, LoadError> {
        let text = match self.is_end(token.token) {
            true => String::new(),
            false => self.detokeniser.push(token.token)?,
        };
        self.held.push(Piece { token, text });
        let text: String = self.held.iter().map(|piece| piece.text.as_str()).collect();
        if let Some(at) = self.stops.iter().filter_map(|stop| text.find(stop.as_str())).min() {
            self.stopped = true;
            self.cut(at);
            return Ok(self.rest());
        }
        let open = self.stops.iter().map(|stop| beginning(&text, stop)).max().unwrap_or(0);
        let certain = text.len() - open;
        let mut end = 0;
        let out = self.held.iter().take_while(|piece| {
            end += piece.text.len();
            end <= certain
        });
        let out = out.count();
        Ok(self.held.drain(..out).collect())
    }

    /// Whether a stop string was found.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    /// What is left when nothing more comes. A character that is not whole by then
    /// stays unsaid.
    pub(crate) fn rest(&mut self) -> Vec<Piece> {
        std::mem::take(&mut self.held)
    }

    fn is_end(&self, token: TokenId) -> bool {
        self.vocabulary.is_end(token)
    }

    /// Drops the held text from `at` on. The tokens stay: they were made.
    fn cut(&mut self, mut at: usize) {
        for piece in &mut self.held {
            let kept = at.min(piece.text.len());
            piece.text.truncate(kept);
            at -= kept;
        }
    }
}

/// How many bytes at the end of `text` are a beginning of `stop`, which `text`
/// does not hold.
fn beginning(text: &str, stop: &str) -> usize {
    let ends = stop.char_indices().map(|(at, _)| at).filter(|&at| at > 0);
    ends.filter(|&at| text.ends_with(&stop[..at])).max().unwrap_or(0)
}
