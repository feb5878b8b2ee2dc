//! Requests, positions and bytes of a stage at an LLM on a server.

use std::fmt;

use serde::{Deserialize, Serialize};
use tokenroute_core::Bytes;

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
