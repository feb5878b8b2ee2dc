//! Measures routers: the exact τ sweep, policies to compare with, figures with
//! intervals, example answers, latency behind a network.
//!
//! Key types:
//! - [`sweep`]: what routed decoding does at every τ, exactly.
//! - [`SharedSteps`]: an SLM whose steps the sweeps of several policies share.
//! - [`policies::Baseline`]: the policies that a router is compared with.
//! - [`study::study`]: from curves to figures with intervals.
//! - [`study::outcomes`]: the same of routers in anybody's table of outcomes.
//! - [`guarantee::guarantee`]: a τ whose accuracy is guaranteed.
//! - [`diagnostics::Diagnostics`]: the router's scores beside the labels.
//! - [`errors::Errors`]: its misses and false alarms at one τ.
//! - [`query::QueryBaseline`]: policies that decide once a question.
//! - [`answer_cost::AnswerCost`]: what an answer costs.
//! - [`examples::Examples`]: answers kept token by token.
//! - [`latency::LatencyStudy`]: time and bytes of an answer behind a network.
//!
//! Usage:
//! 1. [`sweep`] the router and every baseline over the same questions.
//! 2. [`study::study`] chooses τ on one set of questions and measures on another.
//! 3. `tokenroute-report` renders the figures. Nothing here renders.

pub mod answer_cost;
pub mod binomial;
pub mod bootstrap;
pub mod diagnostics;
pub mod errors;
mod exact;
pub mod examples;
pub mod guarantee;
pub mod latency;
pub mod policies;
pub mod query;
mod shared_steps;
pub mod study;

pub use exact::{Leaf, Restricted, SweepCost, SweepError, SweepOptions, SweptQuestion, sweep};
pub use shared_steps::{SharedState, SharedSteps};
