//! The network study: time and bytes of an answer when the LLM is behind a network,
//! measured in real time.
//!
//! 1. A [`Meter`] decodes one question after the other and times every token:
//!    [`TimedAnswer`]s.
//! 2. [`Figures::of`] turns the samples of one policy over one network into
//!    means with intervals and quantiles.
//! 3. [`LatencyStudy`] is the whole study, as files and reports have it.

mod figures;
mod measure;
mod paced;

use serde::{Deserialize, Serialize};
use tokenroute_core::Tau;

pub use figures::{Figures, Gaps, Mean, Quantiles, slowdown, speedup};
pub use measure::{Measured, Meter, Timed, TimedAnswer};
pub use paced::Paced;

/// A way of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The SLM alone: routed decoding at τ = 0.
    Slm,
    /// The LLM alone, streamed.
    Llm,
    /// Routed; decoding waits for every token of the LLM.
    Blocking,
    /// Routed; decoding continues during the wait.
    Speculative,
    /// Routed, with several tokens of the LLM per call.
    Relay,
}

/// A network between device and cloud.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Round trip in milliseconds.
    pub round_trip_ms: f64,
    /// Megabits a second, each way; `None` for no limit.
    pub megabits: Option<f64>,
}

/// One way of decoding over one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyRow {
    /// The way.
    pub way: Way,
    /// Its figures.
    pub figures: Figures,
    /// Seconds for an answer by the model T ≈ N·(t_slm + t_router) +
    /// K·(RTT + t_llm), for routed decoding.
    pub modelled: Option<f64>,
}

/// All ways over one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkRows {
    /// The network.
    pub network: Network,
    /// One row for each way.
    pub rows: Vec<LatencyRow>,
    /// Time of blocking decoding over that of speculative decoding.
    pub speedup: Mean,
    /// 95th percentile of the gaps between consecutive kept tokens in speculative decoding
    /// over that of the SLM alone.
    pub kept_slowdown: Mean,
    /// The same for all its gaps, those that end with a token of the LLM included.
    pub slowdown: Mean,
    /// The model's t_slm + t_router, seconds: SLM-only decoding's time a token.
    pub token_seconds: f64,
    /// The model's t_llm, seconds: a blocking call's time less the round trip. Taken
    /// over the network with the same bandwidth and the shortest round trip.
    pub call_seconds: f64,
}

impl NetworkRows {
    /// The row of a way.
    #[must_use]
    pub fn row(&self, way: Way) -> Option<&LatencyRow> {
        self.rows.iter().find(|row| row.way == way)
    }
}

/// The setting of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The split the questions come from.
    pub split: String,
    /// Number of questions, taken from the start of the split.
    pub questions: usize,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// The threshold.
    pub tau: Tau,
    /// Candidates that speculation continues from at each routed token.
    pub branches: usize,
    /// Most concurrent calls for tokens that may not be needed.
    pub max_ahead: usize,
    /// Most calls that speculation may waste in one answer. `None` means no limit.
    pub max_extra: Option<u64>,
    /// Tokens of the LLM in one call. Those after the first are kept for later asks.
    pub lookahead: usize,
    /// Most tokens of a relay.
    pub relay: usize,
    /// Least milliseconds of a forward pass of the SLM ([`Paced`]).
    pub step_ms: f64,
    /// Whether the device's thread had a processor of its own.
    pub own_processor: bool,
}

/// A study over some networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyStudy {
    /// The setting.
    pub setting: Setting,
    /// Whether speculative decoding gave the tokens of blocking decoding, over
    /// every network.
    pub identical: bool,
    /// By bandwidth, then by round trip.
    pub networks: Vec<NetworkRows>,
}

/// Seconds of an answer by the model: `tokens` at `token_seconds` each, and `waits`
/// of a round trip and a call.
#[must_use]
pub fn modelled(tokens: f64, token_seconds: f64, waits: f64, round: f64, call: f64) -> f64 {
    tokens * token_seconds + waits * (round + call)
}
