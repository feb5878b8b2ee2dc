//! How labels are made; saved in the table's manifest.

use serde::{Deserialize, Serialize};
use tokenroute_core::{Sampling, stable_hash};

use crate::LabelError;

/// Settings of a labelling run. Settings that keep their default are left out of the manifest,
/// if earlier versions lacked them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Seed of the hash above and of sampled rollouts.
    pub seed: u64,
    /// The policy that goes on after a rollout's first token. `None` is that of the path: the
    /// LLM in round 0, the router in on-policy rounds. The path's own grade then serves for the
    /// token that it takes. With another policy both tokens are rolled out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<ContinuationPolicy>,
    /// Rollouts of each token at a difference. The grade is their mean.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub samples: usize,
    /// Temperature of the rollouts; 0 is greedy. Sampled rollouts are made for both tokens,
    /// since the path's own answer is greedy.
    #[serde(default, skip_serializing_if = "is_greedy")]
    pub temperature: f64,
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
    /// Checks the settings, as far as they concern a round.
    ///
    /// # Errors
    /// Names the setting.
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

    /// How one rollout draws its tokens; `None` is greedy. `offloads` tells whether it began
    /// with the LLM's token, and `sample` numbers the rollouts of a token.
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

    /// Whether the path's own grade serves for the token that it takes.
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
        }
    }
}

/// The policy that goes on after a rollout's first token.
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
    /// The LLM's own greedy answer; every difference is rolled out.
    Llm,
    /// The data set's rationale, with CITER's shortcut: the SLM's token is the
    /// gold one → keep; else the LLM's is → offload; else rollouts decide.
    Gold,
    /// The answer of the walk along the LLM's own: SLM tokens that leave its answer the same
    /// stay in, one after the other (AutoJudge, arXiv 2504.20039). Caps do not apply.
    Walk,
}
