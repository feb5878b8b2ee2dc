//! The record of one generation: each token with its origin, and the costs of all of them.

use serde::{Deserialize, Serialize};

use crate::{Bytes, Cause, TokenId};

/// Which model made a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The SLM; the router kept its token.
    Slm,
    /// The LLM; the router offloaded.
    Llm,
    /// The SLM, because the LLM gave no usable reply. Counted apart from offload.
    Degraded,
}

/// One generated token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceToken {
    /// The committed token.
    pub token: TokenId,
    /// Which model made it.
    pub origin: Origin,
    /// The SLM's token at this position: greedy, or drawn under sampling.
    pub slm_token: TokenId,
    /// The policy's score.
    pub score: f64,
    /// Why the LLM gave no usable reply. Set only with [`Origin::Degraded`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Whether it was decided while an earlier token was still on its way from the LLM, so
    /// that it added no time to the answer. This alone depends on timing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub speculated: bool,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trace {
    /// Generated tokens. An end token, if reached, is the last and counts.
    pub tokens: Vec<TraceToken>,
    /// Whether an end token was reached within the limit.
    pub ended: bool,
    /// Positions that the SLM processed, prompt included.
    pub slm_positions: u64,
    /// Positions that the LLM processed, prefill included.
    pub llm_positions: u64,
    /// Bytes sent and received for the LLM's answers. The bytes of failed calls are only in
    /// the client's own count.
    #[serde(default)]
    pub bytes: Bytes,
    /// Calls to the LLM: one per requested token, or one per relay.
    #[serde(default)]
    pub llm_calls: u64,
    /// The calls of `llm_calls` that made no token: for discarded branches, too late, or to
    /// warm up the LLM.
    #[serde(default)]
    pub wasted_calls: u64,
    /// The positions of `llm_positions` that went into wasted calls.
    #[serde(default)]
    pub wasted_positions: u64,
    /// Serial waits: how often decoding waited for a call that was sent after the previous
    /// wait ended. Overlapping round trips count once.
    #[serde(default)]
    pub waits: u64,
    /// The positions of `slm_positions` that were processed while an earlier token was on
    /// its way.
    #[serde(default)]
    pub speculated: u64,
    /// The positions of `speculated` that were rolled back.
    #[serde(default)]
    pub rolled_back: u64,
    /// The positions of `slm_positions` after the prompt that the SLM decoded before the LLM made
    /// the whole answer.
    #[serde(default)]
    pub discarded: u64,
    /// LLM tokens that came by relay, after the routed one.
    #[serde(default)]
    pub relayed: u64,
    /// SLM tokens with a score below τ, kept because the budget was used up.
    #[serde(default)]
    pub held: u64,
}

impl Trace {
    /// The committed token ids.
    pub fn ids(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.tokens.iter().map(|t| t.token)
    }

    /// Adds the cost of a reply that came after the answer ended.
    pub fn bill(&mut self, positions: u64, bytes: Bytes) {
        self.llm_positions += positions;
        self.wasted_positions += positions;
        self.bytes += bytes;
    }

    /// Number of tokens that the LLM made.
    #[must_use]
    pub fn offloaded(&self) -> usize {
        self.tokens.iter().filter(|t| t.origin == Origin::Llm).count()
    }

    /// LLM tokens / generated tokens; 0 for an answer without tokens.
    #[must_use]
    pub fn offload_ratio(&self) -> f64 {
        self.offloaded() as f64 / self.tokens.len().max(1) as f64
    }

    /// Number of tokens decided while an earlier token was on its way.
    #[must_use]
    pub fn speculated_tokens(&self) -> usize {
        self.tokens.iter().filter(|t| t.speculated).count()
    }

    /// Number of SLM tokens kept because the LLM did not answer. They do not count as
    /// offloaded.
    #[must_use]
    pub fn degraded(&self) -> usize {
        self.tokens.iter().filter(|t| t.origin == Origin::Degraded).count()
    }
}
