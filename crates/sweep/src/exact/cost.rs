//! The cost of a sweep, beside that of decoding at τ = 0 and τ = 1.

use serde::{Deserialize, Serialize};

/// Positions processed by a sweep, discarded work included. Each policy counts as if
/// it had been swept alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepCost {
    /// Positions the SLM processed, prompts included.
    pub slm_positions: u64,
    /// Positions the LLM processed, prompts included.
    pub llm_positions: u64,
    /// Of `slm_positions`, those that no earlier policy had processed.
    #[serde(default)]
    pub new_slm_positions: u64,
    /// Of `llm_positions`, those that no earlier policy had processed.
    #[serde(default)]
    pub new_llm_positions: u64,
    /// Prompt positions before the one that gives the first token.
    pub prompt_positions: u64,
    /// Tokens of the SLM-only answers.
    pub slm_only_tokens: u64,
    /// Tokens of the LLM-only answers.
    pub llm_only_tokens: u64,
}

impl SweepCost {
    /// Answer positions the SLM evaluated. One decode takes one per token.
    #[must_use]
    pub fn decoded_tokens(&self) -> u64 {
        self.slm_positions.saturating_sub(self.prompt_positions)
    }

    /// Answer positions the SLM evaluated / SLM-only tokens. Prefill is left out on
    /// both sides: a grid of 101 values of τ costs about 101.
    #[must_use]
    pub fn cost_ratio(&self) -> f64 {
        self.decoded_tokens() as f64 / self.slm_only_tokens.max(1) as f64
    }

    /// The same for the LLM, against LLM-only decoding.
    #[must_use]
    pub fn llm_cost_ratio(&self) -> f64 {
        self.llm_positions.saturating_sub(self.prompt_positions) as f64
            / self.llm_only_tokens.max(1) as f64
    }
}

impl std::ops::AddAssign for SweepCost {
    fn add_assign(&mut self, other: Self) {
        self.slm_positions += other.slm_positions;
        self.llm_positions += other.llm_positions;
        self.new_slm_positions += other.new_slm_positions;
        self.new_llm_positions += other.new_llm_positions;
        self.prompt_positions += other.prompt_positions;
        self.slm_only_tokens += other.slm_only_tokens;
        self.llm_only_tokens += other.llm_only_tokens;
    }
}

impl std::iter::Sum for SweepCost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |mut sum, cost| {
            sum += cost;
            sum
        })
    }
}
