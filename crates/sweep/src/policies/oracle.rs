//! A policy that knows the LLM's tokens.

use tokenroute_core::{Position, Score, ScoreError, Scorer, unit_hash};

use super::{Policy, PolicyInputs, PolicyKind};

/// Offloads the tokens that differ from the LLM's first. Differing tokens score
/// below ½, identical ones from ½ on; within both the order is a hash. Where it takes every
/// difference, at τ = ½, its answer is the LLM's own: that point is speculative decoding. It
/// is no upper bound, since it does not know which differences matter.
#[derive(Debug, Clone, Copy)]
pub struct DifferenceOracle {
    /// Seed of the hash.
    pub seed: u64,
}

impl Policy for DifferenceOracle {
    const NAME: &'static str = "difference-oracle";
    const KIND: PolicyKind = PolicyKind::Oracle;
    const SCORE: &'static str =
        "low where the models differ, high where they agree; in hashed order within each";

    fn build(inputs: &PolicyInputs<'_>) -> Option<Self> {
        Some(DifferenceOracle { seed: inputs.seed })
    }
}

impl Scorer for DifferenceOracle {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let order = 0.5 * unit_hash(self.seed, position.question, position.index);
        let differs = position.llm.is_some_and(|llm| llm.token != position.step.token);
        Score::new(if differs { order } else { 0.5 + order })
    }

    fn needs_llm(&self) -> bool {
        true
    }
}
