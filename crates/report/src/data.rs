//! The input of a report: plain values, already measured. The renderers read
//! nothing else.

use std::collections::BTreeMap;

use tokenroute_core::{Bytes, Counts};
use tokenroute_sweep::SweepCost;
use tokenroute_sweep::answer_cost::AnswerCosts;
use tokenroute_sweep::diagnostics::Diagnostics;
use tokenroute_sweep::errors::Errors;
use tokenroute_sweep::examples::ExampleQuestion;
use tokenroute_sweep::latency::LatencyStudy;
use tokenroute_sweep::study::SplitResult;

use crate::cost::CostSummary;

/// Everything a report shows.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportData {
    /// Name of the experiment, the page's title.
    pub name: String,
    /// The split the headline is measured on.
    pub test: SplitResult,
    /// The same on kinds of questions that the router never trained on.
    pub ood: Option<SplitResult>,
    /// Label composition, one entry per split (or per split and round).
    pub labels: Vec<LabelCounts>,
    /// Divergent positions by class of the SLM's token, most frequent first.
    pub divergent_classes: Vec<ClassCount>,
    /// The router as a detector of divergent positions.
    pub diagnostics: Option<Diagnostics>,
    /// The router's errors at the headline's target.
    pub errors: Option<Errors>,
    /// Cost of the router's sweep on the headline's split.
    pub cost: CostSummary,
    /// Cost of every sweep, by split and policy, for `summary.json`.
    pub costs: BTreeMap<String, BTreeMap<String, SweepCost>>,
    /// What an answer costs on the headline's split.
    pub answer_costs: AnswerCosts,
    /// Sentences that stand before the numbers.
    pub notices: Vec<String>,
    /// The network study, if there is one.
    pub latency: Option<LatencyStudy>,
    /// Answers to show token by token.
    pub examples: Vec<ExampleQuestion>,
    /// The cost of each stage, in the order of the run.
    pub stages: Vec<StageCost>,
    /// Hashes, seeds and versions that fix the result.
    pub provenance: Vec<Fact>,
    /// The command that makes this report again.
    pub command: String,
}

/// Label counts of one split.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelCounts {
    /// Name of the split, with the round where that matters.
    pub split: String,
    /// Positions by relation.
    pub counts: Counts,
}

/// The divergent positions of one class of token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassCount {
    /// The class, as in "digit".
    pub class: String,
    /// Divergent positions.
    pub count: u64,
}

/// The cost of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct StageCost {
    /// The stage, as in "label".
    pub stage: String,
    /// Wall time in seconds; `None` where it was not recorded.
    pub seconds: Option<f64>,
    /// Peak memory of the process during the stage, in bytes, mapped weights included;
    /// `None` where the system does not report it.
    pub peak_bytes: Option<u64>,
    /// Positions the LLM processed, prefill included; `None` where none are counted.
    pub llm_positions: Option<u64>,
    /// Bytes to and from an LLM on a server; `None` for one in process.
    pub bytes: Option<Bytes>,
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}
