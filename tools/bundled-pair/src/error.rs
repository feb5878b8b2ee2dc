//! What can go wrong while the bundled pair is generated, trained, exported or loaded.

use std::path::PathBuf;

/// An error of this crate; each names the value, what was expected and what to do next.
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
    /// A device name that this build does not know.
    #[error("device \"{name}\" is not available: this build has {available}; {hint}")]
    Device {
        /// The name asked for.
        name: String,
        /// The backends compiled in.
        available: String,
        /// What to do next.
        hint: String,
    },
    /// The example source produced something that cannot be trained on.
    #[error("example {index}: {reason}")]
    Example {
        /// The index asked for.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The loss stopped being a number.
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
    /// A file was read but does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do next.
        reason: String,
    },
    /// A tensor is absent or misshapen in a weights file.
    #[error("tensor \"{name}\": {reason}")]
    Tensor {
        /// The Hugging Face name.
        name: String,
        /// What is wrong and what to do next.
        reason: String,
    },
}

impl PairError {
    /// Wraps an operating system error with the path it concerns.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Wraps a decoding error with the path it concerns.
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
