//! How labels are made; saved in the table's manifest.

use serde::{Deserialize, Serialize};

/// Settings of a labelling run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelConfig {
    /// What round 0 runs along.
    pub reference: Reference,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Most differences of one question that are rolled out; 0 is no limit. They are taken in
    /// the order of a hash of (seed, question, position), so that a cap thins them evenly over
    /// the answer. A judged one then weighs open / judged, so that weighted means are those of
    /// all differences; one left over is unjudged and weighs nothing.
    pub max_rollouts_per_question: usize,
    /// Questions per shard: what is lost at most when a run is killed, and how
    /// many questions' states are in memory at a time.
    pub questions_per_shard: usize,
    /// Seed of the hash above.
    pub seed: u64,
}

impl Default for LabelConfig {
    fn default() -> Self {
        LabelConfig {
            reference: Reference::Llm,
            max_tokens: 128,
            max_rollouts_per_question: 0,
            questions_per_shard: 100,
            seed: 0,
        }
    }
}

/// The path that round 0 labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// The LLM's own greedy answer; every difference is rolled out.
    Llm,
    /// The data set's rationale, with CITER's shortcut: the SLM's token is the
    /// gold one → keep; else the LLM's is → offload; else rollouts decide.
    Gold,
    /// The answer of the walk along the LLM's own: SLM tokens that leave its answer the same
    /// stay in, one after the other (AutoJudge, arXiv 2504.20039). Caps do not apply.
    Walk,
}
