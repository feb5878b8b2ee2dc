//! The figures of a study: per split, per policy, per offload target.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Curve, Gap, Tau};

use crate::policies::PolicyKind;

/// All policies on the questions of one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitResult {
    /// Name of the split, as in "test".
    pub split: String,
    /// Number of questions.
    pub questions: u64,
    /// Accuracies of the SLM and the LLM alone.
    pub gap: Gap,
    /// 95% interval of the SLM's accuracy.
    pub slm_interval: Option<[f64; 2]>,
    /// 95% interval of the LLM's accuracy.
    pub llm_interval: Option<[f64; 2]>,
    /// The router first, then the policies it is compared with.
    pub policies: Vec<PolicyResult>,
}

impl SplitResult {
    /// The router's result, if the split has one.
    #[must_use]
    pub fn router(&self) -> Option<&PolicyResult> {
        self.policies.iter().find(|p| p.kind == PolicyKind::Router)
    }
}

/// One policy's curve and its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyResult {
    /// Name, as in "max-probability".
    pub name: String,
    /// The sort of the policy.
    pub kind: PolicyKind,
    /// Its exact curve on this split.
    pub curve: Curve,
    /// 95% interval of accuracy at offload ratios in rising order; may be empty.
    pub band: Vec<BandPoint>,
    /// Figures at the offload targets, τ chosen on validation.
    pub points: Vec<Point>,
    /// Area under the PGR curve; `None` if the LLM is no better than the SLM.
    pub apgr: Option<f64>,
    /// Its 95% interval.
    pub apgr_interval: Option<[f64; 2]>,
    /// Least offload that recovers half of the gap.
    pub cpt50: Option<f64>,
    /// Least offload that recovers four fifths of it.
    pub cpt80: Option<f64>,
    /// The router's APGR less this policy's, paired over questions; `None` for
    /// the router itself.
    pub router_advantage: Option<Difference>,
}

/// Interval of accuracy at an offload ratio.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BandPoint {
    /// Offload ratio ρ.
    pub offload: f64,
    /// 2.5% quantile of accuracy at τ(ρ).
    pub lower: f64,
    /// 97.5% quantile.
    pub upper: f64,
}

/// A policy on this split, at a τ chosen on validation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Offload ratio aimed at on validation.
    pub target: f64,
    /// The τ chosen there.
    pub tau: Tau,
    /// Offload ratio measured here, over all tokens.
    pub offload: f64,
    /// Mean of the questions' own offload ratios.
    pub mean_offload: f64,
    /// Accuracy measured here.
    pub accuracy: f64,
    /// 95% interval of the accuracy.
    pub interval: [f64; 2],
    /// Performance gap recovered.
    pub pgr: Option<f64>,
    /// LLM tokens per question.
    pub offloaded_per_question: f64,
    /// Positions the LLM processes per question, prefill included.
    pub llm_positions_per_question: f64,
}

/// A paired difference and its 95% interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Measured on all questions.
    pub value: f64,
    /// 95% bootstrap interval.
    pub interval: [f64; 2],
}
