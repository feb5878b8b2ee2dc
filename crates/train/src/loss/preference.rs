//! Cross-entropy of P(keep ≻ offload | h) = σ(f(h)) against the soft targets (Bradley-Terry; CITER,
//! arXiv 2502.01976 §3).

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::{Loss, LossRows, log_sigmoids};
use crate::TrainError;

/// −a ln σ(f) − b ln σ(−f).
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Preference {}

impl Loss for Preference {
    fn rows(&self, logits: &[f64], rows: &LossRows) -> Vec<[f64; 2]> {
        let of = |(&logit, &[keep, offload]): (&f64, &[f32; 2])| {
            let (a, b) = (f64::from(keep), f64::from(offload));
            let (ln_p, ln_q) = log_sigmoids(logit);
            let (p, q) = (ln_p.exp(), ln_q.exp());
            [-a * ln_p - b * ln_q, b * p - a * q]
        };
        logits.iter().zip(&rows.coefficients).map(of).collect()
    }

    fn gives_log_odds(&self) -> bool {
        true
    }

    /// In Burn's own operations, so that routers of earlier versions come out the same.
    fn tensor(
        &self,
        logits: Tensor<1>,
        rows: &LossRows,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let keep = log_sigmoid(logits.clone()) * column(rows, 0, device);
        let offload = log_sigmoid(logits.neg()) * column(rows, 1, device);
        Ok((keep + offload).mean().neg())
    }
}

/// One of the two factors of each row.
pub(super) fn column(rows: &LossRows, side: usize, device: &Device) -> Tensor<1> {
    let values: Vec<f32> = rows.coefficients.iter().map(|factors| factors[side]).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count]), device)
}
