//! The error type of this crate.

use crate::device::backends;

/// A failure to train. Each names the value, what was expected and what to do next.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A configuration value is out of range or contradicts another.
    #[error("train.{field} = {value}: {expected}")]
    Config {
        /// The configuration field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What was expected, and what to change.
        expected: String,
    },
    /// This build has no such device.
    #[error(
        "device {0:?} is not available: this build has {have}; build with `--features {0}` if that is a backend",
        have = backends().join(", ")
    )]
    Device(String),
    /// No rows to train on or to validate with.
    #[error(
        "no labelled rows of split {split:?} among {rows} rows (splits found: {found}); label that split first or set `train.{field}`"
    )]
    NoRows {
        /// The requested split.
        split: String,
        /// Rows in the table.
        rows: usize,
        /// The splits of the table.
        found: String,
        /// The configuration field that names the split.
        field: &'static str,
    },
    /// All rows of a part are of one class, so a router cannot learn or be measured.
    #[error(
        "all {rows} {part} rows should be {kept}, but a router needs positions of both kinds; label more questions, or use a pair whose models differ more"
    )]
    OneClass {
        /// "training" or "validation".
        part: &'static str,
        /// Rows in that part.
        rows: usize,
        /// "kept" or "offloaded".
        kept: &'static str,
    },
    /// The loss reads what the label table lacks.
    #[error(
        "train.loss reads the LLM's probability of its token, which {lacking} of {rows} training rows lack; set `label.llm_probabilities = true` and label again, with an LLM that gives log-probabilities"
    )]
    NoLlmProbability {
        /// Rows without it.
        lacking: usize,
        /// All rows.
        rows: usize,
    },
    /// The head goes along whole answers, and the rows were read without the steps between them.
    #[error(
        "{head} goes along whole answers, and these rows came without their steps; read them with a configuration whose train.architecture is this head"
    )]
    NoSteps {
        /// The head.
        head: String,
    },
    /// A row that cannot be used.
    #[error("question {question:?}, position {position}: {what}")]
    Row {
        /// Id of the question.
        question: String,
        /// Number of answer tokens before the row's.
        position: u32,
        /// The problem, what was expected and what to do.
        what: String,
    },
    /// The loss is no longer a finite number.
    #[error("the loss of epoch {epoch} is {loss}; lower train.learning_rate (now {learning_rate})")]
    Diverged {
        /// Epoch, counted from 1.
        epoch: u32,
        /// The validation loss.
        loss: f64,
        /// The configured rate.
        learning_rate: f64,
    },
    /// An operator that a device runs and that is not trained here.
    #[error(
        "the operator {operator} is run, not trained here; train the head elsewhere and import it"
    )]
    Untrained {
        /// Its name in router files.
        operator: &'static str,
    },
    /// The backend failed.
    #[error("the tensor backend failed: {0}; try another `--device`")]
    Backend(String),
}
