//! The rows of one part of a label table, as training reads them.

use tokenroute_core::{FeatureSpec, LabelRow};

use crate::along::bad_row;
use crate::rule::{Target, keeps};
use crate::{Steps, TrainError};

/// The rows of a part: training, validation or calibration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// Normalised features `[len, width]`, row-major.
    pub features: Vec<f32>,
    /// Preference for keep `[len]`, in [0, 1].
    pub targets: Vec<f32>,
    /// Weights `[len]`, above 0.
    pub weights: Vec<f32>,
    /// What keeping gains over offloading `[len]`, as the label rule has it.
    pub gains: Vec<f32>,
    /// The SLM's and the LLM's probability of the LLM's token `[len]`. The SLM's is 0 where the token
    /// is not among the listed ones; the LLM's is 0 where the table lacks it.
    pub probabilities: Vec<[f32; 2]>,
    /// Number of the answer that a row belongs to `[len]`. Rows of one answer follow each other.
    pub answers: Vec<u32>,
    /// The SLM's greatest probability and its entropy in nats `[len]`, as they were.
    pub uncertainty: Vec<[f32; 2]>,
    /// All steps of the rows' answers, if the head is recurrent.
    pub steps: Option<Steps>,
}

impl Rows {
    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    pub(super) fn new(recurrent: bool) -> Self {
        Rows { steps: recurrent.then(Steps::default), ..Rows::default() }
    }

    /// Takes in a row. One that does not count is a step alone.
    pub(super) fn push(
        &mut self,
        features: &[f32],
        row: &LabelRow,
        (counts, target): (bool, Target),
        answer: u32,
    ) {
        if let Some(steps) = &mut self.steps {
            steps.push(features, answer, counts);
        }
        if !counts {
            return;
        }
        self.answers.push(answer);
        self.features.extend_from_slice(features);
        self.targets.push(target.keep);
        self.weights.push(target.weight);
        self.gains.push(target.gain);
        let of_slm = row.top.iter().find(|top| top.0 == row.llm_token).map_or(0.0, |top| top.1);
        self.probabilities.push([of_slm, row.llm_probability.unwrap_or(0.0)]);
        self.uncertainty.push([row.top.first().map_or(f32::NAN, |t| t.1), row.entropy]);
    }

    /// Checks that both classes occur.
    pub(super) fn check(&self, part: &'static str) -> Result<(), TrainError> {
        let divergent = self.targets.iter().filter(|&&y| !keeps(y)).count();
        match divergent {
            0 => Err(TrainError::OneClass { part, rows: self.len(), kept: "kept" }),
            n if n == self.len() => {
                Err(TrainError::OneClass { part, rows: self.len(), kept: "offloaded" })
            }
            _ => Ok(()),
        }
    }
}

/// Checks that a row has the features that are read, and numbers that can be targets.
pub(super) fn check_row(
    spec: &FeatureSpec,
    row: &LabelRow,
    target: Target,
) -> Result<(), TrainError> {
    if row.hidden.len() != spec.hidden || row.hidden.is_empty() {
        return Err(bad_row(
            row,
            format!(
                "the hidden state has {} values, but the first row has {}; a table must hold the labels of one SLM: label again",
                row.hidden.len(),
                spec.hidden
            ),
        ));
    }
    let found = row.top.len();
    if found < spec.top_k {
        let what = format!(
            "it has {found} top probabilities; expected at least train.top_k = {}; lower it or label again",
            spec.top_k
        );
        return Err(bad_row(row, what));
    }
    if found < spec.top() {
        let what = format!(
            "it has {found} top probabilities; expected at least {}, which train.features reads; label again",
            spec.top()
        );
        return Err(bad_row(row, what));
    }
    let Target { keep, weight, gain } = target;
    if !(0.0..=1.0).contains(&keep) {
        return Err(bad_row(row, format!("the target is {keep}; expected 0 to 1")));
    }
    if !(weight.is_finite() && weight >= 0.0) {
        return Err(bad_row(row, format!("the weight is {weight}; expected 0 or more")));
    }
    if !gain.is_finite() {
        return Err(bad_row(row, format!("the gain is {gain}; expected a finite number")));
    }
    Ok(())
}
