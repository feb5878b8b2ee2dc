//! Settings of labelling. The table's manifest holds them.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Sampling, stable_hash};

use crate::LabelError;

/// Settings of a labelling run. The manifest leaves out a setting that earlier versions lacked
/// while it has its default.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelConfig {
    /// The path that round 0 follows.
    pub reference: Reference,
    /// Most tokens of an answer.
    pub max_tokens: usize,
    /// Most differences of one question that are rolled out; 0 is no limit. A hash of (seed,
    /// question, position) orders them, so that the cap thins them evenly over the answer. A
    /// judged difference weighs open / judged. Weighted means then estimate those of all
    /// differences. The others are unjudged and have weight 0.
    pub max_rollouts_per_question: usize,
    /// Questions per shard. A killed run loses at most one shard. The states of a shard's
    /// questions are in memory at the same time.
    pub questions_per_shard: usize,
    /// Seed of the hash above and of sampled rollouts.
    pub seed: u64,
    /// The policy that continues after a rollout's first token. `None` is the path's own: the
    /// LLM in round 0, the router in on-policy rounds. The path's grade then serves for the
    /// token that the path takes. With any other policy both tokens are rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<ContinuationPolicy>,
    /// Rollouts of each token at a difference. The grade is their mean.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub samples: usize,
    /// Temperature of the rollouts; 0 is greedy. Both tokens are then rolled out, since the
    /// path is greedy.
    #[serde(default, skip_serializing_if = "is_greedy")]
    pub temperature: f64,
    /// Whether an engine computed the SLM's hidden states along the path of round 0.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub states: bool,
    /// Whether the LLM's probability of its own token is asked for, along every path. This takes
    /// one more pass of the LLM.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub llm_probabilities: bool,
    /// The device of the SLM, if it is another than the kernels. It is only recorded: labels of
    /// another device are other work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slm_device: Option<String>,
    /// As `slm_device`, for an LLM that runs here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_device: Option<String>,
}

fn one() -> usize {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_one(samples: &usize) -> bool {
    *samples == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_greedy(temperature: &f64) -> bool {
    *temperature == 0.0
}

impl LabelConfig {
    /// Checks the settings that a round uses.
    ///
    /// # Errors
    /// The setting and its problem.
    pub fn check(&self, round: u32) -> Result<(), LabelError> {
        for (key, value) in [
            ("max_tokens", self.max_tokens),
            ("questions_per_shard", self.questions_per_shard),
            ("samples", self.samples),
        ] {
            if value == 0 {
                return Err(LabelError::Zero { key });
            }
        }
        let refuse = |key, what: String| Err(LabelError::Config { key, what });
        if let Err(error) = Sampling::new(self.temperature, 1.0, 0) {
            return refuse("temperature", format!("is refused: {error}"));
        }
        if self.samples > 1 && self.temperature == 0.0 {
            let what = format!(
                "is {}, and all rollouts are equal at temperature 0; set `temperature`",
                self.samples
            );
            return refuse("samples", what);
        }
        if round > 0 {
            return Ok(());
        }
        if self.continuation == Some(ContinuationPolicy::Routed) {
            let what =
                "is \"routed\" in round 0, which has no router yet; expected \"llm\" or \"slm\"";
            return refuse("continuation", what.to_owned());
        }
        if self.states {
            let what = "needs more of the SLM than its states along a path; label without --states";
            if self.reference == Reference::Walk {
                return refuse("reference", format!("is \"walk\", which {what}"));
            }
            if self.continuation == Some(ContinuationPolicy::Slm) {
                return refuse("continuation", format!("is \"slm\", which {what}"));
            }
        }
        if self.reference == Reference::Walk {
            let what = "goes with no `reference = \"walk\"`, whose rollouts are the LLM's greedy ones; remove it";
            if self.continuation == Some(ContinuationPolicy::Slm) {
                return refuse("continuation", what.to_owned());
            }
            if self.temperature > 0.0 {
                return refuse("temperature", what.to_owned());
            }
        }
        Ok(())
    }

    /// How one rollout draws its tokens; `None` is greedy. `offloads` is true if it begins with
    /// the LLM's token. `sample` numbers the rollouts of a token.
    ///
    /// # Errors
    /// A temperature out of range.
    pub fn sampling(
        &self,
        question: &str,
        position: usize,
        offloads: bool,
        sample: usize,
    ) -> Result<Option<Sampling>, LabelError> {
        let words = [self.seed, position as u64, u64::from(offloads), sample as u64];
        let bytes: Vec<u8> =
            words.iter().flat_map(|word| word.to_le_bytes()).chain(question.bytes()).collect();
        Sampling::new(self.temperature, 1.0, stable_hash(&bytes)).map_err(|error| {
            LabelError::Config { key: "temperature", what: format!("is refused: {error}") }
        })
    }

    /// Whether the path's grade serves for the token that the path takes.
    pub(crate) fn path_serves(&self) -> bool {
        self.continuation.is_none() && self.temperature == 0.0
    }
}

impl Default for LabelConfig {
    fn default() -> Self {
        LabelConfig {
            reference: Reference::Llm,
            max_tokens: 128,
            max_rollouts_per_question: 0,
            questions_per_shard: 100,
            seed: 0,
            continuation: None,
            samples: 1,
            temperature: 0.0,
            states: false,
            llm_probabilities: false,
            slm_device: None,
            llm_device: None,
        }
    }
}

/// The policy that continues after a rollout's first token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ContinuationPolicy {
    /// The LLM alone: does this one token lose the answer?
    Llm,
    /// The SLM alone (CITER's variant).
    Slm,
    /// Routed decoding with the current router, in on-policy rounds.
    Routed,
}

/// The path that round 0 labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// The LLM's own greedy answer. Every difference is rolled out.
    Llm,
    /// The data set's rationale, with CITER's shortcut. If the SLM's token is the gold one, keep;
    /// else if the LLM's is, offload; else rollouts decide.
    Gold,
    /// The answer that the walk finds (AutoJudge, arXiv 2504.20039): the LLM's own, with each
    /// SLM token that does not change what it answers. Caps do not apply.
    Walk,
}
