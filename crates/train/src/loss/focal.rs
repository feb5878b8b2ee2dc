//! The focal loss (Lin et al. 2017): rows that the head already gets right weigh less.

use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Device, Tensor};
use serde::Deserialize;

use super::preference::column;
use super::{Loss, LossRows, log_sigmoids};
use crate::TrainError;

/// −a (1 − p)^γ ln p − b p^γ ln(1 − p) with p = σ(f).
#[derive(Debug, Clone, Copy, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Focal {
    /// Exponent γ.
    pub gamma: f64,
}

impl Loss for Focal {
    fn rows(&self, logits: &[f64], rows: &LossRows) -> Vec<[f64; 2]> {
        let gamma = self.gamma;
        let of = |(&logit, &[keep, offload]): (&f64, &[f32; 2])| {
            let (a, b) = (f64::from(keep), f64::from(offload));
            let (ln_p, ln_q) = log_sigmoids(logit);
            let (p, q) = (ln_p.exp(), ln_q.exp());
            let (pg, qg) = ((gamma * ln_p).exp(), (gamma * ln_q).exp());
            let slope = a * qg * (gamma * p * ln_p - q) + b * pg * (p - gamma * q * ln_q);
            [-a * qg * ln_p - b * pg * ln_q, slope]
        };
        logits.iter().zip(&rows.coefficients).map(of).collect()
    }

    fn gives_log_odds(&self) -> bool {
        true
    }

    fn check(&self) -> Result<(), (&'static str, String, String)> {
        if self.gamma.is_finite() && self.gamma >= 0.0 {
            return Ok(());
        }
        let expected = "expected a number of at least 0".to_owned();
        Err(("loss.gamma", self.gamma.to_string(), expected))
    }

    /// In Burn's own operations, so that routers of earlier versions come out the same.
    fn tensor(
        &self,
        logits: Tensor<1>,
        rows: &LossRows,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let gamma = self.gamma as f32;
        let keep = log_sigmoid(logits.clone());
        let keep = keep * sigmoid(logits.clone().neg()).powf_scalar(gamma);
        let offload = log_sigmoid(logits.clone().neg()) * sigmoid(logits).powf_scalar(gamma);
        Ok((keep * column(rows, 0, device) + offload * column(rows, 1, device)).mean().neg())
    }
}
