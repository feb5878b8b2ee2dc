//! What a stage asked of an LLM on a server.

use std::fmt;

use serde::{Deserialize, Serialize};
use tokenroute_core::Bytes;

/// What an LLM on a server was asked. What is in the answer cache costs nothing.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct LlmUsage {
    /// HTTP requests, second attempts included.
    pub requests: u64,
    /// Positions it says it has processed, prefill included.
    pub positions: u64,
    /// What crossed the network, failed requests included.
    pub bytes: Bytes,
}

impl LlmUsage {
    /// What was asked since `before`.
    pub fn since(self, before: LlmUsage) -> LlmUsage {
        LlmUsage {
            requests: self.requests - before.requests,
            positions: self.positions - before.positions,
            bytes: self.bytes - before.bytes,
        }
    }

    /// Both together.
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
