//! Difficulty settings of the task.

use serde::{Deserialize, Serialize};

/// Difficulty of the generated problems. The defaults are those of the bundled pair.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskConfig {
    /// Largest number that a story adds, subtracts or multiplies by. Start amounts may be larger.
    pub max_operand: i64,
    /// Largest intermediate or final result.
    pub max_result: i64,
    /// Relative frequency of problems with one, two, three and four steps.
    pub step_mix: [f64; 4],
    /// Share of stories with one irrelevant sentence.
    pub irrelevant_share: f64,
}

impl Default for TaskConfig {
    fn default() -> Self {
        Self {
            max_operand: 12,
            max_result: 60,
            step_mix: [0.20, 0.35, 0.30, 0.15],
            irrelevant_share: 0.25,
        }
    }
}

impl TaskConfig {
    /// Checks that problems can be drawn.
    ///
    /// # Errors
    /// [`TaskConfigError`] names the first setting out of its range.
    pub fn validate(&self) -> Result<(), TaskConfigError> {
        if !(6..=99).contains(&self.max_operand) {
            return Err(TaskConfigError::MaxOperand(self.max_operand));
        }
        if !(40..=99).contains(&self.max_result) {
            return Err(TaskConfigError::MaxResult(self.max_result));
        }
        let usable = self.step_mix.iter().all(|w| w.is_finite() && *w >= 0.0);
        if !usable || self.step_mix[0] + self.step_mix[1] <= 0.0 {
            return Err(TaskConfigError::StepMix(self.step_mix));
        }
        if !(0.0..=1.0).contains(&self.irrelevant_share) {
            return Err(TaskConfigError::IrrelevantShare(self.irrelevant_share));
        }
        Ok(())
    }
}

/// A setting of [`TaskConfig`] that no problem can satisfy.
#[derive(Debug, thiserror::Error)]
pub enum TaskConfigError {
    /// `max_operand` is out of range.
    #[error("max_operand is {0}; set it to a value from 6 to 99")]
    MaxOperand(i64),
    /// `max_result` is out of range.
    #[error("max_result is {0}; set it to a value from 40 to 99")]
    MaxResult(i64),
    /// `step_mix` has a negative or non-finite weight, or none for one or two steps.
    #[error("step_mix is {0:?}; use weights of at least 0, with some weight on one or two steps")]
    StepMix([f64; 4]),
    /// `irrelevant_share` is out of range.
    #[error("irrelevant_share is {0}; set it to a value from 0 to 1")]
    IrrelevantShare(f64),
}
