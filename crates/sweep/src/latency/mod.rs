//! The network study: what answers cost in time and bytes when the LLM is
//! behind a network, decoded in real time.
//!
//! 1. A [`Meter`] decodes questions one after the other and holds a clock to
//!    every token: [`Sample`]s.
//! 2. [`Figures::of`] turns the samples of one policy over one network into
//!    means with intervals and quantiles.
//! 3. [`LatencyStudy`] is the whole study, as it is kept and reported.

mod figures;
mod measure;
mod paced;

use serde::{Deserialize, Serialize};
use tokenroute_core::Tau;

pub use figures::{Figures, Gaps, Mean, Quantiles, slowdown, speedup};
pub use measure::{Measured, Meter, Sample, Timed};
pub use paced::Paced;

/// How answers are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// The SLM alone: routed decoding at τ = 0.
    Slm,
    /// The LLM alone, streamed.
    Llm,
    /// Routed, standing still for every token of the LLM.
    Blocking,
    /// Routed, going on in the meantime.
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
pub struct Row {
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
    pub rows: Vec<Row>,
    /// Time of blocking decoding over that of speculative decoding.
    pub speedup: Mean,
    /// 95th percentile of the gaps between consecutive kept tokens in speculative decoding
    /// over that of the SLM alone.
    pub kept_slowdown: Mean,
    /// The same of all its gaps, those that end with a token of the LLM included.
    pub slowdown: Mean,
    /// The model's t_slm + t_router, seconds: SLM-only decoding's time a token.
    pub token_seconds: f64,
    /// The model's t_llm, seconds: a blocking call's time less the round trip,
    /// over the network with the same bandwidth and the shortest round trip.
    pub call_seconds: f64,
}

impl NetworkRows {
    /// The row of a way.
    #[must_use]
    pub fn row(&self, way: Way) -> Option<&Row> {
        self.rows.iter().find(|row| row.way == way)
    }
}

/// What was studied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// The split the questions come from.
    pub split: String,
    /// Number of questions, the split's first.
    pub questions: usize,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// The threshold.
    pub tau: Tau,
    /// Candidates that speculation goes on from at each routed token.
    pub branches: usize,
    /// Most calls at once that it may spend on tokens that may not be needed.
    pub max_ahead: usize,
    /// Most calls that speculation may waste in one answer. `None` means no limit.
    pub max_extra: Option<u64>,
    /// Tokens the LLM may say after the one it is asked for, kept in case they
    /// are asked for next.
    pub lookahead: usize,
    /// Most tokens of a relay.
    pub relay: usize,
    /// Milliseconds that a forward pass of the SLM takes at least ([`Paced`]).
    pub step_ms: f64,
    /// Whether the device's thread had a processor that nothing of the cloud ran on.
    pub own_processor: bool,
}

/// A whole study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LatencyStudy {
    /// What was studied.
    pub setting: Setting,
    /// Whether speculative decoding gave the tokens of blocking decoding, over
    /// every network.
    pub identical: bool,
    /// By bandwidth, then by round trip.
    pub networks: Vec<NetworkRows>,
}

/// The model: N tokens at `token_seconds` each and K waits of a round trip and
/// a call.
#[must_use]
pub fn modelled(tokens: f64, token_seconds: f64, waits: f64, round: f64, call: f64) -> f64 {
    tokens * token_seconds + waits * (round + call)
}
