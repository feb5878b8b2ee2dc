//! Cross-entropy against hard labels with one weight for divergent rows, after R2R
//! (arXiv 2505.21600).

use serde::Deserialize;

use super::{Loss, LossRows, log_sigmoids};

/// −ln σ(f) of a row to keep, −c ln σ(−f) of a divergent one, times the row's weight. Soft targets
/// are rounded.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PosWeight {
    /// The factor c on divergent rows. Without it, the rows to keep for each divergent one.
    #[serde(default)]
    pub pos_weight: Option<f64>,
}

impl Loss for PosWeight {
    fn rows(&self, logits: &[f64], rows: &LossRows) -> Vec<[f64; 2]> {
        let factor = self.pos_weight.unwrap_or(rows.kept_per_divergent);
        let of = |(&logit, (&target, &weight)): (&f64, (&f32, &f32))| {
            let (ln_p, ln_q) = log_sigmoids(logit);
            let weight = f64::from(weight);
            if target < 0.5 {
                [-weight * factor * ln_q, weight * factor * ln_p.exp()]
            } else {
                [-weight * ln_p, -weight * ln_q.exp()]
            }
        };
        logits.iter().zip(rows.targets.iter().zip(&rows.weights)).map(of).collect()
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        match self.pos_weight {
            Some(factor) if !(factor.is_finite() && factor > 0.0) => {
                let expected = "expected a number above 0".to_owned();
                Err(("loss.pos_weight", factor.to_string(), expected))
            }
            _ => Ok(()),
        }
    }
}
