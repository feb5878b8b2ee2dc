//! Limits and defaults of `serve`.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokenroute_core::Tau;
use tokenroute_runtime::Policy;

use crate::net::{ConnectionLimits, MemoryLimit};

/// Limits and defaults of a routed server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ServeConfig {
    /// Policy of requests that do not set their own. A request may set τ, the budget and
    /// its sampling; decoding is greedy by default. Without an LLM τ is 0.
    pub policy: Policy,
    /// Most requests decoded at once; their SLM steps are one batch.
    pub sessions: usize,
    /// Most requests that wait for a session; more are refused.
    pub queue: usize,
    /// Most tokens of a prompt.
    pub prompt_tokens: usize,
    /// Whether chat messages may spell special tokens. They then become control tokens, as
    /// in transformers and llama.cpp; by default such a request is refused.
    pub allow_special_tokens: bool,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Most bytes of a request.
    pub body: usize,
    /// Longest time for an answer, waiting included.
    pub time: Duration,
    /// Most prompt positions read between two tokens of other answers.
    pub prefill: NonZeroUsize,
    /// Most positions of earlier answers kept in the KV cache. A prompt that begins like
    /// one of them, as the next message of a conversation does, is not read again.
    pub kept_positions: usize,
    /// Bytes that the process may use. Requests beyond it are refused.
    pub memory: Option<MemoryLimit>,
    /// Limits of connections.
    pub connections: ConnectionLimits,
}

impl Default for ServeConfig {
    fn default() -> Self {
        ServeConfig {
            policy: Policy::new(Tau::SLM_ONLY),
            sessions: 32,
            queue: 64,
            prompt_tokens: 32768,
            allow_special_tokens: false,
            max_tokens: 4096,
            body: 1 << 20,
            time: Duration::from_secs(300),
            prefill: const { NonZeroUsize::new(256).expect("positive") },
            kept_positions: 8192,
            memory: None,
            connections: ConnectionLimits::default(),
        }
    }
}
