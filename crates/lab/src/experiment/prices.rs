//! `[report.prices]` and `[report.network]`: money and time for an answer's cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokenroute_sweep::answer_cost::{AssumedNetwork, Prices};

/// Prices of the LLM, each for a million tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PricesSection {
    /// Input that no earlier call of the answer has sent.
    pub input: f64,
    /// Input that an earlier call of the answer has sent.
    pub cached_input: f64,
    /// Tokens that the LLM makes.
    pub output: f64,
    /// Currency, as in "USD".
    pub currency: String,
}

/// The network to the LLM and the pace of both models.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkSection {
    /// Round trip in milliseconds.
    pub round_trip_ms: f64,
    /// Bandwidth each way in megabits a second. Without it there is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub megabits: Option<f64>,
    /// Milliseconds of the SLM for a token.
    pub slm_ms_per_token: f64,
    /// Milliseconds of the LLM for a token, or for the check of a draft.
    pub llm_ms_per_token: f64,
}

impl PricesSection {
    /// The prices.
    #[must_use]
    pub fn stated(&self) -> Prices {
        let PricesSection { input, cached_input, output, ref currency } = *self;
        Prices { input, cached_input, output, currency: currency.clone() }
    }

    /// The values by key.
    pub(super) fn values(&self) -> [(&'static str, f64); 3] {
        [
            ("report.prices.input", self.input),
            ("report.prices.cached_input", self.cached_input),
            ("report.prices.output", self.output),
        ]
    }
}

impl NetworkSection {
    /// The network.
    #[must_use]
    pub fn stated(self) -> AssumedNetwork {
        let NetworkSection { round_trip_ms, megabits, slm_ms_per_token, llm_ms_per_token } = self;
        AssumedNetwork { round_trip_ms, megabits, slm_ms_per_token, llm_ms_per_token }
    }

    /// The values by key.
    pub(super) fn values(&self) -> [(&'static str, f64); 3] {
        [
            ("report.network.round_trip_ms", self.round_trip_ms),
            ("report.network.slm_ms_per_token", self.slm_ms_per_token),
            ("report.network.llm_ms_per_token", self.llm_ms_per_token),
        ]
    }
}
