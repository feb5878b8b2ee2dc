//! What the answers of an LLM of text took: in its own tokens, not the SLM's.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Written;

/// Counters of an LLM of text.
#[derive(Debug, Default)]
pub struct TextCounts {
    answers: AtomicU64,
    respelled: AtomicU64,
    inside: AtomicU64,
    unsettled: AtomicU64,
    requests: AtomicU64,
    positions: AtomicU64,
}

/// The counts so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TextTotals {
    /// Positions of the SLM that the LLM answered.
    pub answers: u64,
    /// Those where the LLM spelled the end of the text in other tokens than its tokenizer does:
    /// the boundary rule mattered.
    pub respelled: u64,
    /// Positions inside a character, where the SLM's token was kept.
    pub inside: u64,
    /// Answers whose first token could have changed with further text, cut at the limit.
    pub unsettled: u64,
    /// Calls of the LLM: requests to a server, or steps of one in process.
    pub requests: u64,
    /// Positions that the LLM processed, in its own tokens.
    pub positions: u64,
}

impl TextCounts {
    pub(crate) fn wrote(&self, written: &Written) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.respelled.fetch_add(u64::from(written.respelled), Ordering::Relaxed);
        self.requests.fetch_add(written.requests, Ordering::Relaxed);
        self.positions.fetch_add(written.positions, Ordering::Relaxed);
    }

    pub(crate) fn inside(&self, more: u64) {
        self.inside.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn unsettled(&self, more: u64) {
        self.unsettled.fetch_add(more, Ordering::Relaxed);
    }

    /// The counts so far.
    pub fn totals(&self) -> TextTotals {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TextTotals {
            answers: load(&self.answers),
            respelled: load(&self.respelled),
            inside: load(&self.inside),
            unsettled: load(&self.unsettled),
            requests: load(&self.requests),
            positions: load(&self.positions),
        }
    }
}
