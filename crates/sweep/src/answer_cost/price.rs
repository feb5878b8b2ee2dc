//! Money and time of an answer, under stated prices and a stated network.

use serde::{Deserialize, Serialize};

use super::AnswerCost;

/// Prices of the LLM, each for a million tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// Of input that no earlier call has sent.
    pub input: f64,
    /// Of input that an earlier call has sent.
    pub cached_input: f64,
    /// Of tokens that the LLM makes.
    pub output: f64,
    /// Currency, as in "USD".
    pub currency: String,
}

impl Prices {
    /// The money for an answer.
    #[must_use]
    pub fn money(&self, cost: &AnswerCost) -> f64 {
        let sum = self.input * cost.input_positions
            + self.cached_input * cost.cached_positions
            + self.output * cost.offloaded;
        sum / 1e6
    }
}

/// The network to the LLM and the pace of both models.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AssumedNetwork {
    /// Round trip in milliseconds.
    pub round_trip_ms: f64,
    /// Bandwidth each way in megabits a second; `None` without a limit.
    pub megabits: Option<f64>,
    /// Milliseconds of the SLM for a token.
    pub slm_ms_per_token: f64,
    /// Milliseconds of the LLM for a pass: a token, or the check of a draft.
    pub llm_ms_per_token: f64,
}

impl AssumedNetwork {
    /// Seconds for an answer: serial waits, passes of both models and the transfer. Prefill
    /// is left out, which is nearly the same for every way that calls the LLM.
    #[must_use]
    pub fn seconds(&self, cost: &AnswerCost) -> f64 {
        let work = cost.waits * self.round_trip_ms
            + cost.llm_passes * self.llm_ms_per_token
            + cost.slm_tokens * self.slm_ms_per_token;
        let bits = 8.0 * (cost.bytes_up + cost.bytes_down);
        work / 1e3 + self.megabits.map_or(0.0, |megabits| bits / (1e6 * megabits))
    }
}
