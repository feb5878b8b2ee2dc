//! The record of one generation.

use serde::{Deserialize, Serialize};

use crate::{Bytes, Cause, TokenId};

/// Who made a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The SLM; the router kept its token.
    Slm,
    /// The LLM; the router offloaded.
    Llm,
    /// The SLM, because the LLM could not be asked. Counted apart from offload.
    Degraded,
}

/// One generated token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TraceToken {
    /// The committed token.
    pub token: TokenId,
    /// Who made it.
    pub origin: Origin,
    /// What the SLM would have said; drawn, where decoding is not greedy.
    pub slm_token: TokenId,
    /// The policy's score.
    pub score: f32,
    /// Why the LLM could not be asked, with [`Origin::Degraded`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// Whether it was decided while a token before it was still on its way from the
    /// LLM, so that making it took none of the answer's time. This depends on who was
    /// faster; everything else about a token does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub speculated: bool,
}

/// One generation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trace {
    /// Generated tokens; an end token, if reached, is the last and counts.
    pub tokens: Vec<TraceToken>,
    /// Whether an end token was reached within the limit.
    pub ended: bool,
    /// Positions the SLM processed, prompt included.
    pub slm_positions: u64,
    /// Positions the LLM processed, prefill included.
    pub llm_positions: u64,
    /// What crossed a network for the LLM's answers to this. What a failed call took is
    /// in the client's own count alone.
    #[serde(default)]
    pub bytes: Bytes,
    /// Calls to the LLM: one for each token asked for, or for each relay.
    #[serde(default)]
    pub llm_calls: u64,
    /// Those of them whose answers made no token: for branches that were not
    /// kept, too late, or to warm the LLM up.
    #[serde(default)]
    pub wasted_calls: u64,
    /// Those of the LLM's positions that went into such calls.
    #[serde(default)]
    pub wasted_positions: u64,
    /// Times the answer stood still for a call that was sent after it had last
    /// stood still: round trips that neither hide behind another nor overlap it.
    #[serde(default)]
    pub waits: u64,
    /// Those of the SLM's positions that were processed while a token before
    /// them was still on its way.
    #[serde(default)]
    pub speculated: u64,
    /// Those of the speculated positions that were rolled back.
    #[serde(default)]
    pub rolled_back: u64,
    /// Tokens of the LLM that came by relay, after the one that was routed.
    #[serde(default)]
    pub relayed: u64,
    /// Tokens of the SLM that score below τ and were kept because the budget
    /// was spent.
    #[serde(default)]
    pub held: u64,
}

impl Trace {
    /// The committed token ids.
    pub fn ids(&self) -> impl Iterator<Item = TokenId> + '_ {
        self.tokens.iter().map(|t| t.token)
    }

    /// Takes in a call that came back after the answer was complete, in vain.
    pub fn bill(&mut self, positions: u64, bytes: Bytes) {
        self.llm_positions += positions;
        self.wasted_positions += positions;
        self.bytes += bytes;
    }

    /// Tokens the LLM made.
    #[must_use]
    pub fn offloaded(&self) -> usize {
        self.tokens.iter().filter(|t| t.origin == Origin::Llm).count()
    }

    /// Tokens that were decided while one before them was on its way.
    #[must_use]
    pub fn speculated_tokens(&self) -> usize {
        self.tokens.iter().filter(|t| t.speculated).count()
    }

    /// Tokens of the SLM that stand where the LLM could not be asked; they do
    /// not count as offloaded.
    #[must_use]
    pub fn degraded(&self) -> usize {
        self.tokens.iter().filter(|t| t.origin == Origin::Degraded).count()
    }
}
