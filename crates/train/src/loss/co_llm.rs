//! Co-LLM's marginal likelihood of the reference token (Shen et al., arXiv 2403.03870, eq. 2).

use serde::Deserialize;

use super::{Loss, LossRows};

/// Least probability of a token, as for the features.
const LEAST: f64 = 1e-7;

/// −w ln(P(defer) · p_LLM(y) + (1 − P(defer)) · p_SLM(y)) with P(defer) = σ(−f), the LLM's greedy
/// token y, and the row's weight w. It reads no grade and no class weight.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CoLlm {}

impl Loss for CoLlm {
    fn rows(&self, logits: &[f64], rows: &LossRows) -> Vec<[f64; 2]> {
        let of = |(&logit, (&probabilities, &weight)): (&f64, (&[f32; 2], &f32))| {
            let [slm, llm] = probabilities.map(|p| f64::from(p).max(LEAST));
            let weight = f64::from(weight);
            let (keep, defer) = (1.0 / (1.0 + (-logit).exp()), 1.0 / (1.0 + logit.exp()));
            let likelihood = defer * llm + keep * slm;
            [-weight * likelihood.ln(), weight * keep * defer * (llm - slm) / likelihood]
        };
        logits.iter().zip(rows.probabilities.iter().zip(&rows.weights)).map(of).collect()
    }

    fn reads_probabilities(&self) -> bool {
        true
    }
}
