//! What a stage cost at an LLM on a server, and at an LLM with a tokenizer of its own.

use std::fmt;

use serde::{Deserialize, Serialize};
use tokenroute_core::Bytes;
use tokenroute_llm::TextTotals;

/// Usage of an LLM on a server. Cached answers cost nothing.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct LlmUsage {
    /// HTTP requests, second attempts included.
    pub requests: u64,
    /// Positions that the server reports as processed, prefill included.
    pub positions: u64,
    /// Bytes over the network, failed requests included.
    pub bytes: Bytes,
}

impl LlmUsage {
    /// Usage since `before`.
    pub fn since(self, before: LlmUsage) -> LlmUsage {
        LlmUsage {
            requests: self.requests - before.requests,
            positions: self.positions - before.positions,
            bytes: self.bytes - before.bytes,
        }
    }

    /// The sum of both.
    pub fn with(self, other: LlmUsage) -> LlmUsage {
        LlmUsage {
            requests: self.requests + other.requests,
            positions: self.positions + other.positions,
            bytes: [self.bytes, other.bytes].into_iter().sum(),
        }
    }
}

impl fmt::Display for LlmUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LlmUsage { requests, positions, bytes: Bytes { up, down } } = self;
        write!(
            f,
            "asked of the LLM's server: {requests} requests, {positions} LLM positions, \
             {up} bytes up, {down} bytes down"
        )
    }
}

/// What answers took in the LLM's own tokens, where these are not the SLM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TextUsage {
    /// Positions of the SLM that the LLM answered.
    pub answers: u64,
    /// Those where the boundary rule mattered.
    pub respelled: u64,
    /// Positions inside a character, where the SLM's token was kept.
    pub inside: u64,
    /// Answers whose first token was not certain at the limit.
    pub unsettled: u64,
    /// Calls: steps in process.
    pub calls: u64,
    /// Positions in the LLM's own tokens.
    pub positions: u64,
}

impl From<TextTotals> for TextUsage {
    fn from(totals: TextTotals) -> Self {
        let TextTotals { answers, respelled, inside, unsettled, requests, positions } = totals;
        TextUsage { answers, respelled, inside, unsettled, calls: requests, positions }
    }
}

impl TextUsage {
    /// Usage since `before`.
    pub fn since(self, before: TextUsage) -> TextUsage {
        self.by(before, |now, before| now - before)
    }

    /// The sum of both.
    pub fn with(self, other: TextUsage) -> TextUsage {
        self.by(other, |a, b| a + b)
    }

    fn by(self, other: TextUsage, join: impl Fn(u64, u64) -> u64) -> TextUsage {
        TextUsage {
            answers: join(self.answers, other.answers),
            respelled: join(self.respelled, other.respelled),
            inside: join(self.inside, other.inside),
            unsettled: join(self.unsettled, other.unsettled),
            calls: join(self.calls, other.calls),
            positions: join(self.positions, other.positions),
        }
    }
}

impl fmt::Display for TextUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TextUsage { answers, respelled, inside, unsettled, calls, positions } = self;
        let share = 100.0 * *respelled as f64 / (*answers).max(1) as f64;
        write!(
            f,
            "{answers} answers of the LLM through text: {calls} calls, {positions} positions in its own tokens. The boundary rule mattered at {respelled} ({share:.1}%). {inside} more were inside a character, and {unsettled} were cut before their first token was certain"
        )
    }
}
