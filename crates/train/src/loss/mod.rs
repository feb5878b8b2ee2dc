//! Losses: what a head is trained to lower. Each is one type behind [`Loss`], named in [`KINDS`].
//!
//! A loss states the loss of every row and its derivative by the row's logit, in plain Rust. The
//! heads' layers are Burn's part.

mod co_llm;
mod focal;
mod pos_weight;
mod preference;
mod ranking;
mod regression;

use std::fmt::Debug;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokenroute_core::registry::{self, Kind};

use crate::{Rows, TrainError};
pub use co_llm::CoLlm;
pub use focal::Focal;
pub use pos_weight::PosWeight;
pub use preference::Preference;
pub use ranking::Ranking;
pub use regression::Regression;

/// What a loss reads of some rows, in the order of their logits.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LossRows {
    /// The factors of −ln σ(f) and −ln σ(−f): weight · y and weight · class weight · (1 − y), with
    /// a mean of 1 over both.
    pub coefficients: Vec<[f32; 2]>,
    /// Preference for keep, in [0, 1].
    pub targets: Vec<f32>,
    /// Weights, above 0.
    pub weights: Vec<f32>,
    /// What keeping gains over offloading, as the label rule has it. By default Q_keep − Q_offload.
    pub gains: Vec<f32>,
    /// The SLM's and the LLM's probability of the LLM's token. The SLM's is 0 where the token is not
    /// among the listed ones; the LLM's is 0 where the table lacks it.
    pub probabilities: Vec<[f32; 2]>,
    /// Number of the answer that a row belongs to.
    pub answers: Vec<u32>,
    /// Weight of all training rows to keep, over that of all divergent ones.
    pub kept_per_divergent: f64,
}

impl LossRows {
    /// All rows, with their coefficients.
    pub(crate) fn of(rows: &Rows, coefficients: Vec<[f32; 2]>) -> Self {
        let weight = |divergent: bool| -> f64 {
            let pairs = rows.targets.iter().zip(&rows.weights);
            pairs.filter(|(y, _)| (**y < 0.5) == divergent).map(|(_, &w)| f64::from(w)).sum()
        };
        LossRows {
            coefficients,
            targets: rows.targets.clone(),
            weights: rows.weights.clone(),
            gains: rows.gains.clone(),
            probabilities: rows.probabilities.clone(),
            answers: rows.answers.clone(),
            kept_per_divergent: weight(false) / weight(true).max(f64::MIN_POSITIVE),
        }
    }

    /// Some of the rows.
    pub(crate) fn pick(&self, rows: &[usize]) -> Self {
        LossRows {
            coefficients: rows.iter().map(|&row| self.coefficients[row]).collect(),
            targets: rows.iter().map(|&row| self.targets[row]).collect(),
            weights: rows.iter().map(|&row| self.weights[row]).collect(),
            gains: rows.iter().map(|&row| self.gains[row]).collect(),
            probabilities: rows.iter().map(|&row| self.probabilities[row]).collect(),
            answers: rows.iter().map(|&row| self.answers[row]).collect(),
            kept_per_divergent: self.kept_per_divergent,
        }
    }
}

/// A loss. The mean of its rows is lowered.
pub trait Loss: Debug + Send + Sync {
    /// The loss of every row, and its derivative by the row's logit.
    fn rows(&self, logits: &[f64], rows: &LossRows) -> Vec<[f64; 2]>;

    /// Whether σ(logit) estimates P(keep), up to the class weight. Other logits are scaled before
    /// they are validated.
    fn gives_log_odds(&self) -> bool {
        false
    }

    /// Whether a row's loss depends on other rows of its answer. Mini-batches then hold whole
    /// answers.
    fn compares_rows(&self) -> bool {
        false
    }

    /// Whether it reads [`LossRows::probabilities`], which a label table may lack.
    fn reads_probabilities(&self) -> bool {
        false
    }

    /// Checks its settings.
    ///
    /// # Errors
    /// The setting, its value, and what was expected.
    fn check(&self) -> Result<(), (&'static str, String, String)> {
        Ok(())
    }

    /// The mean loss of a batch as Burn differentiates it.
    ///
    /// # Errors
    /// A failure of the backend.
    fn tensor(
        &self,
        logits: Tensor<1>,
        rows: &LossRows,
        device: &Device,
    ) -> Result<Tensor<1>, TrainError> {
        let given: Vec<f64> =
            crate::model::values(logits.clone())?.into_iter().map(f64::from).collect();
        let found = self.rows(&given, rows);
        let count = given.len() as f64;
        let value = found.iter().map(|[value, _]| value).sum::<f64>() / count;
        let slopes: Vec<f32> = found.iter().map(|[_, slope]| (slope / count) as f32).collect();
        // Linear in the logits, with the value and the derivatives of the loss.
        let at: f64 =
            given.iter().zip(&slopes).map(|(logit, slope)| logit * f64::from(*slope)).sum();
        let slopes = Tensor::from_data(TensorData::new(slopes, [given.len()]), device);
        Ok((logits * slopes).sum() + (value - at) as f32)
    }
}

/// All losses that an experiment file can name. A new one is a line here.
pub(crate) const KINDS: [Kind<dyn Loss>; 6] = [
    Kind::of::<Preference>("preference", |settings| {
        Ok(Box::new(serde_json::from_value::<Preference>(settings)?))
    }),
    Kind::of::<Focal>("focal", |settings| Ok(Box::new(serde_json::from_value::<Focal>(settings)?))),
    Kind::of::<PosWeight>("pos-weight", |settings| {
        Ok(Box::new(serde_json::from_value::<PosWeight>(settings)?))
    }),
    Kind::of::<Regression>("regression", |settings| {
        Ok(Box::new(serde_json::from_value::<Regression>(settings)?))
    }),
    Kind::of::<Ranking>("ranking", |settings| {
        Ok(Box::new(serde_json::from_value::<Ranking>(settings)?))
    }),
    Kind::of::<CoLlm>("co-llm", |settings| {
        Ok(Box::new(serde_json::from_value::<CoLlm>(settings)?))
    }),
];

/// A loss as an experiment file names it: `{ kind = "focal", gamma = 2 }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Map<String, Value>", into = "Map<String, Value>")]
pub struct LossConfig(Map<String, Value>);

impl TryFrom<Map<String, Value>> for LossConfig {
    type Error = String;

    fn try_from(table: Map<String, Value>) -> Result<Self, String> {
        match registry::read(&KINDS, &table) {
            Ok(_) => Ok(LossConfig(table)),
            Err((value, expected)) => Err(format!("loss {value}: {expected}")),
        }
    }
}

impl From<LossConfig> for Map<String, Value> {
    fn from(config: LossConfig) -> Self {
        config.0
    }
}

impl LossConfig {
    /// The loss.
    ///
    /// # Errors
    /// A kind that is not known, or settings that cannot work.
    pub fn loss(&self) -> Result<Box<dyn Loss>, TrainError> {
        let refuse = |field, value, expected| TrainError::Config { field, value, expected };
        let loss = registry::read(&KINDS, &self.0)
            .map_err(|(value, expected)| refuse("loss", value, expected))?;
        loss.check().map_err(|(field, value, expected)| refuse(field, value, expected))?;
        Ok(loss)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for LossConfig {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Loss".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        registry::schema(&KINDS, generator)
    }
}

/// ln σ(f) and ln σ(−f), without overflow.
fn log_sigmoids(logit: f64) -> (f64, f64) {
    let soft = (-logit.abs()).exp().ln_1p();
    (logit.min(0.0) - soft, (-logit).min(0.0) - soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> (Vec<f64>, LossRows) {
        let logits = vec![0.3, -1.2, 2.0, 0.1, -0.4, 0.9];
        let rows = LossRows {
            coefficients: vec![
                [0.9, 0.0],
                [0.0, 2.5],
                [0.7, 0.4],
                [0.0, 1.5],
                [0.8, 0.0],
                [1.0, 0.0],
            ],
            targets: vec![1.0, 0.0, 0.6, 0.0, 1.0, 1.0],
            gains: vec![0.0, -1.0, -0.4, -1.0, 0.0, 1.0],
            probabilities: vec![
                [0.9, 0.8],
                [0.1, 0.95],
                [0.0, 0.6],
                [0.3, 0.3],
                [1.0, 1.0],
                [0.5, 0.7],
            ],
            answers: vec![0, 0, 0, 1, 1, 2],
            weights: vec![1.0, 2.0, 1.0, 1.0, 0.5, 1.0],
            kept_per_divergent: 2.0,
        };
        (logits, rows)
    }

    /// The derivative of the mean by each logit is that of the sum of all rows.
    #[test]
    fn slopes_are_those_of_the_loss() {
        let losses: [Box<dyn Loss>; 6] = [
            Box::new(Preference {}),
            Box::new(Focal { gamma: 2.0 }),
            Box::new(PosWeight { pos_weight: Some(3.0) }),
            Box::new(Regression {}),
            Box::new(Ranking {}),
            Box::new(CoLlm {}),
        ];
        let (logits, rows) = rows();
        for loss in losses {
            let sum = |at: &[f64]| loss.rows(at, &rows).iter().map(|row| row[0]).sum::<f64>();
            let slopes = loss.rows(&logits, &rows);
            for i in 0..logits.len() {
                let beside = |by: f64| {
                    let mut near = logits.clone();
                    near[i] += by;
                    sum(&near)
                };
                let slope = (beside(1e-5) - beside(-1e-5)) / 2e-5;
                assert!((slope - slopes[i][1]).abs() < 1e-7, "{loss:?}, {i}: {slope}, {slopes:?}");
            }
        }
    }

    #[test]
    fn burn_differentiates_to_the_same_slopes() {
        let device = crate::device("flex").expect("built in").autodiff();
        let (logits, rows) = rows();
        let single: Vec<f32> = logits.iter().map(|&x| x as f32).collect();
        for loss in [Box::new(Preference {}) as Box<dyn Loss>, Box::new(Ranking {})] {
            let data = TensorData::new(single.clone(), [single.len()]);
            let at = Tensor::<1>::from_data(data, &device).require_grad();
            let mean = loss.tensor(at.clone(), &rows, &device).expect("a backend");
            let found = loss.rows(&logits, &rows);
            let value: f32 = mean.clone().into_scalar();
            let expected = found.iter().map(|row| row[0]).sum::<f64>() / 6.0;
            assert!((f64::from(value) - expected).abs() < 1e-5, "{loss:?}: {value} {expected}");
            let slopes = at.grad(&mean.backward()).expect("a gradient");
            let slopes = crate::model::values(slopes).expect("a backend");
            for (slope, [_, expected]) in slopes.iter().zip(&found) {
                assert!((f64::from(*slope) - expected / 6.0).abs() < 1e-6, "{loss:?}");
            }
        }
    }

    #[test]
    fn co_llm_lowers_the_logit_where_the_llm_is_surer() {
        let (logits, rows) = rows();
        let found = CoLlm {}.rows(&logits, &rows);
        for ([_, slope], [slm, llm]) in found.iter().zip(&rows.probabilities) {
            assert_eq!(slope.partial_cmp(&0.0), llm.partial_cmp(slm), "{slope}");
        }
        // Both keep and defer give the token half its probability.
        let [value, slope] = CoLlm {}.rows(&[0.0], &rows.pick(&[1]))[0];
        assert!((value + 2.0 * (0.525f64).ln()).abs() < 1e-6, "{value}");
        assert!((slope - 2.0 * 0.25 * 0.85 / 0.525).abs() < 1e-6, "{slope}");
        let far = CoLlm {}.rows(&[800.0, -800.0], &rows.pick(&[2, 2]));
        assert!(far.iter().flatten().all(|x| x.is_finite()), "{far:?}");
    }

    #[test]
    fn an_answer_of_one_class_has_nothing_to_rank() {
        let (logits, rows) = rows();
        let found = Ranking {}.rows(&logits, &rows);
        assert_eq!(found[5], [0.0, 0.0], "an answer without a divergent row");
        assert!(found[1][0] > 0.0 && found[1][1] > 0.0, "{found:?}");
        assert!(found[0][1] < 0.0, "a kept row should have a higher logit");
    }
}
