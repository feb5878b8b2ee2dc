//! The figures of a study: per split, per policy, per offload target.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Curve, Gap, Tau};

use super::{Comparison, Difference};
use crate::policies::PolicyKind;

/// All policies on the questions of one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitResult {
    /// Name of the split, as in "test".
    pub split: String,
    /// Number of questions.
    pub questions: u64,
    /// Name of the split that τ is chosen on.
    pub calibration: String,
    /// Number of questions that τ is chosen on.
    pub calibration_questions: u64,
    /// Number of bootstrap resamples behind every interval.
    pub resamples: u64,
    /// Resamples in which the LLM is no better than the SLM. They have no APGR and no CPT, and
    /// count against every difference that is tested.
    pub resamples_without_gap: u64,
    /// Accuracies of the SLM and the LLM alone.
    pub gap: Gap,
    /// 95% interval of the SLM's accuracy.
    pub slm_interval: Option<[f64; 2]>,
    /// 95% interval of the LLM's accuracy.
    pub llm_interval: Option<[f64; 2]>,
    /// The router first, then routers of other seeds and the policies it is compared with.
    pub policies: Vec<PolicyResult>,
}

impl SplitResult {
    /// The router's result, if the split has one.
    #[must_use]
    pub fn router(&self) -> Option<&PolicyResult> {
        self.routers().next()
    }

    /// Shares of cut answers of the SLM and the LLM alone: the ends of any exact curve.
    #[must_use]
    pub fn cut_alone(&self) -> [f64; 2] {
        let curve = self.router().map(|router| &router.curve);
        [Tau::SLM_ONLY, Tau::LLM_ONLY]
            .map(|tau| curve.map_or(0.0, |curve| curve.cut_share(&curve.at(tau))))
    }

    /// The routers of all seeds; the first is the one that is compared.
    pub fn routers(&self) -> impl Iterator<Item = &PolicyResult> {
        self.policies.iter().filter(|p| p.kind == PolicyKind::Router)
    }
}

/// One policy's curve and its figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyResult {
    /// Name, as in "max-probability".
    pub name: String,
    /// The sort of the policy.
    pub kind: PolicyKind,
    /// The seed that a router was trained with, where it is known.
    pub seed: Option<u64>,
    /// Its exact curve on this split.
    pub curve: Curve,
    /// 95% interval of accuracy at offload ratios in rising order; may be empty.
    pub band: Vec<BandPoint>,
    /// Figures at the offload targets, τ chosen on other questions.
    pub points: Vec<Point>,
    /// Area under the PGR curve; `None` if the LLM is no better than the SLM.
    pub apgr: Option<f64>,
    /// Its 95% interval.
    pub apgr_interval: Option<[f64; 2]>,
    /// Mean PGR over the offload ratios up to [`SMALL_BUDGETS`](super::SMALL_BUDGETS).
    pub apgr20: Option<f64>,
    /// Its 95% interval.
    pub apgr20_interval: Option<[f64; 2]>,
    /// Least offload that recovers half of the gap.
    pub cpt50: Option<f64>,
    /// Its 95% interval; `None` where some resamples never recover as much.
    pub cpt50_interval: Option<[f64; 2]>,
    /// Least offload that recovers four fifths of it.
    pub cpt80: Option<f64>,
    /// Its 95% interval; `None` where some resamples never recover as much.
    pub cpt80_interval: Option<[f64; 2]>,
    /// The router's APGR less this policy's, paired over questions; `None` for
    /// routers.
    pub router_advantage: Option<Difference>,
    /// The same of APGR at small budgets. It is tested where the policy is training-free.
    pub router_advantage20: Option<Comparison>,
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

/// A policy on this split, at a τ chosen on other questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Offload ratio aimed at.
    pub target: f64,
    /// The τ chosen for it.
    pub tau: Tau,
    /// Offload ratio measured here, over all tokens.
    pub offload: f64,
    /// Mean of the questions' own offload ratios.
    pub mean_offload: f64,
    /// Accuracy measured here.
    pub accuracy: f64,
    /// Share of answers that were cut at their most tokens.
    pub cut: f64,
    /// 95% interval of the accuracy, τ chosen anew in each resample.
    pub interval: [f64; 2],
    /// Performance gap recovered.
    pub pgr: Option<f64>,
    /// LLM tokens per question.
    pub offloaded_per_question: f64,
    /// Positions the LLM processes per question, prefill included.
    pub llm_positions_per_question: f64,
}
