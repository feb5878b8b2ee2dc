//! What a report is made from: plain values, already measured. The renderers
//! read nothing else.

use std::collections::BTreeMap;

use tokenroute_core::{Bytes, Counts};
use tokenroute_sweep::SweepCost;
use tokenroute_sweep::diagnostics::Diagnostics;
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
    /// The same on questions whose kind the router never trained on.
    pub ood: Option<SplitResult>,
    /// Label composition, one entry per split (or per split and round).
    pub labels: Vec<LabelCounts>,
    /// Divergent positions by class of the SLM's token, most frequent first.
    pub divergent_classes: Vec<ClassCount>,
    /// How well the router tells divergent positions from the rest.
    pub diagnostics: Option<Diagnostics>,
    /// Cost of the router's sweep on the headline's split.
    pub cost: CostSummary,
    /// Cost of every sweep, by split and policy, for `summary.json`.
    pub costs: BTreeMap<String, BTreeMap<String, SweepCost>>,
    /// What a reader must know before the numbers, a sentence each.
    pub notices: Vec<String>,
    /// What answers cost behind a network, if that was studied.
    pub latency: Option<LatencyStudy>,
    /// Answers to show token by token.
    pub examples: Vec<ExampleQuestion>,
    /// What the stages took, in the order they ran.
    pub stages: Vec<StageCost>,
    /// Name and value of what fixes the result: hashes, seeds, versions.
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

/// How often divergent positions fall on a class of token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassCount {
    /// The class, as in "digit".
    pub class: String,
    /// Divergent positions.
    pub count: u64,
}

/// What a stage took.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is.
    pub name: String,
    /// What it says.
    pub value: String,
}
