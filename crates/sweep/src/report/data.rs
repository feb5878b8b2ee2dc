//! What a report is made from: plain values, already measured. The renderers
//! read nothing else.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Bytes, Counts, Curve, Gap, Origin, Tau, TrainingRecord};

use crate::latency::LatencyStudy;

/// Everything a report shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportData {
    /// Name of the experiment, the page's title.
    pub name: String,
    /// The split the headline is measured on.
    pub test: SplitResult,
    /// The same on questions whose kind the router never trained on.
    pub ood: Option<SplitResult>,
    /// Label composition, one entry per split (or per split and round).
    pub labels: Vec<LabelCounts>,
    /// Divergent positions by class of the SLM's token, most frequent first.
    pub divergent_classes: Vec<ClassCount>,
    /// How well the router tells divergent positions from the rest.
    pub diagnostics: Option<Diagnostics>,
    /// What the exact sweep cost.
    pub cost: SweepCost,
    /// What a reader must know before the numbers, a sentence each.
    pub notices: Vec<String>,
    /// What answers cost behind a network, if that was studied.
    pub latency: Option<LatencyStudy>,
    /// Answers to show token by token.
    pub examples: Vec<Example>,
    /// What the stages took, in the order they ran.
    pub stages: Vec<StageCost>,
    /// Name and value of what fixes the result: hashes, seeds, versions.
    pub provenance: Vec<Fact>,
    /// The command that makes this report again.
    pub command: String,
}

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
    /// The router first, then what it is held against.
    pub policies: Vec<PolicyResult>,
}

impl SplitResult {
    /// The router's result, if there is one.
    #[must_use]
    pub fn router(&self) -> Option<&PolicyResult> {
        self.policies.iter().find(|p| p.kind == PolicyKind::Router)
    }
}

/// What sort of policy a curve belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// The trained router.
    Router,
    /// Needs no labels: chance and the SLM's own uncertainty.
    TrainingFree,
    /// A table learnt from the labels.
    Lookup,
    /// Knows the LLM's tokens: an upper reference.
    Oracle,
}

impl PolicyKind {
    /// In words, for tables.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            PolicyKind::Router => "router",
            PolicyKind::TrainingFree => "training-free",
            PolicyKind::Lookup => "lookup table",
            PolicyKind::Oracle => "oracle",
        }
    }
}

/// One policy's curve and the figures read off it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyResult {
    /// Name, as in "max-probability".
    pub name: String,
    /// What sort of policy it is.
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

/// What a policy does on this split at a τ chosen on validation.
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

/// Label counts of one split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelCounts {
    /// Name of the split, with the round where that matters.
    pub split: String,
    /// Positions by relation.
    pub counts: Counts,
}

/// How often divergent positions fall on a class of token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The class, as in "digit".
    pub class: String,
    /// Divergent positions.
    pub count: u64,
}

/// How well the router tells divergent positions from the rest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// As the router file records it.
    pub training: TrainingRecord,
    /// Calibration before Platt scaling; may be empty.
    pub reliability_before: Vec<ReliabilityBin>,
    /// Calibration after it; may be empty.
    pub reliability_after: Vec<ReliabilityBin>,
    /// Scores of both classes; may be empty. Bins divide [0, 1] evenly.
    pub histogram: Vec<HistogramBin>,
}

/// Positions with like scores.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Mean score, P(keep).
    pub predicted: f64,
    /// Mean target, the share that may indeed be kept.
    pub observed: f64,
    /// Positions in the bin.
    pub count: u64,
}

/// Positions whose score falls into one bin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramBin {
    /// Positions where keeping loses nothing.
    pub keep: u64,
    /// Divergent positions.
    pub divergent: u64,
}

/// What the exact sweep cost, for the router on the headline's split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct SweepCost {
    /// SLM positions evaluated, discarded work included.
    pub decoded_tokens: u64,
    /// Tokens of one SLM-only decode of all questions.
    pub slm_only_tokens: u64,
    /// decoded / SLM-only tokens.
    pub cost_ratio: f64,
    /// LLM positions / tokens of one LLM-only decode.
    pub llm_cost_ratio: f64,
    /// Points of the grid it is held against.
    pub grid_points: u32,
    /// The same ratio for decoding at every point of that grid.
    pub grid_cost_ratio: f64,
}

/// One question and what the pair makes of it at some thresholds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Id of the question.
    pub id: String,
    /// The question.
    pub question: String,
    /// Letter and text of every choice.
    pub choices: Vec<(String, String)>,
    /// Letter of the right one.
    pub answer_key: String,
    /// Answers, left to right.
    pub runs: Vec<ExampleRun>,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExampleRun {
    /// What the threshold stands for, as in "SLM alone".
    pub label: String,
    /// The threshold.
    pub tau: Tau,
    /// Whether the answer is right.
    pub correct: bool,
    /// The tokens, the end token left out.
    pub tokens: Vec<ExampleToken>,
}

/// One token of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExampleToken {
    /// Its text, spaces included.
    pub text: String,
    /// Who made it.
    pub origin: Origin,
    /// What the SLM said here.
    pub slm_text: String,
    /// The router's score.
    pub score: f32,
}

/// What a stage took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageCost {
    /// The stage, as in "label".
    pub stage: String,
    /// Wall time in seconds.
    pub seconds: f64,
    /// Most memory the process held while it ran, in bytes, mapped weights included;
    /// `None` where the system does not tell.
    pub peak_bytes: Option<u64>,
    /// Positions the LLM processed, prefill included, if the stage counts them.
    pub llm_positions: Option<u64>,
    /// What crossed a network to the LLM; `None` where it was in process.
    pub bytes: Option<Bytes>,
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// What it says.
    pub value: String,
}
