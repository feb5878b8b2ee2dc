//! The error type of this crate.

use std::path::PathBuf;

/// A failure to generate, train, export or load the pair. Each names the value, what was expected
/// and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// A configuration value is out of range or contradicts another.
    #[error("{field} = {value}: {expected}")]
    Config {
        /// The configuration field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What was expected, and what to change.
        expected: String,
    },
    /// This build has no such device.
    #[error("device \"{name}\" is not available: this build has {available}; {hint}")]
    Device {
        /// The requested name.
        name: String,
        /// The backends of this build.
        available: String,
        /// What to do next.
        hint: String,
    },
    /// An example cannot be trained on.
    #[error("example {index}: {reason}")]
    Example {
        /// The example's index.
        index: u64,
        /// The problem.
        reason: String,
    },
    /// The loss is no longer a finite number.
    #[error("the loss at step {step} is {loss}: lower the learning rate or lengthen the warmup")]
    Diverged {
        /// The optimizer step.
        step: u64,
        /// The loss.
        loss: f32,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file has unexpected content.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do next.
        reason: String,
    },
    /// A tensor of a weights file is missing or has the wrong shape.
    #[error("tensor \"{name}\": {reason}")]
    Tensor {
        /// The Hugging Face name.
        name: String,
        /// What is wrong and what to do next.
        reason: String,
    },
}

impl PairError {
    /// Adds the path to an operating system error.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Adds the path to a decoding error.
    pub(crate) fn format<E: std::fmt::Display>(path: impl Into<PathBuf>) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |error| Self::Format { path, reason: error.to_string() }
    }

    /// A configuration error.
    #[expect(clippy::needless_pass_by_value, reason = "callers pass numbers and strings alike")]
    pub(crate) fn config(
        field: &'static str,
        value: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        Self::Config { field, value: value.to_string(), expected: expected.into() }
    }
}
