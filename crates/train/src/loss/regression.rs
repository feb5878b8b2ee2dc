//! Regression of the logit on what keeping gains: Q_keep − Q_offload, the difference of the mean
//! grades.

use serde::Deserialize;

use super::{Loss, LossRows};

/// ½ w (f − (Q_keep − Q_offload))², with the weight of the row and of its class.
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Regression {}

impl Loss for Regression {
    fn rows(&self, logits: &[f64], rows: &LossRows) -> Vec<[f64; 2]> {
        let pairs = rows.coefficients.iter().zip(&rows.gains);
        let of = |(&logit, (&[keep, offload], &gain)): (&f64, (&[f32; 2], &f32))| {
            let weight = f64::from(keep) + f64::from(offload);
            let error = logit - f64::from(gain);
            [0.5 * weight * error * error, weight * error]
        };
        logits.iter().zip(pairs).map(of).collect()
    }
}
