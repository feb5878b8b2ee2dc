//! The errors of reading and writing GGUF files.

use std::path::PathBuf;

/// A GGUF file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// A file that cannot be opened or mapped.
    #[error("cannot read {}: {source}; expected a GGUF file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A length that reaches beyond the file's last byte.
    #[error(
        "{what} at byte {at} needs {needed} bytes, but the file has {left} left; it is cut short or damaged: fetch it again"
    )]
    Truncated {
        /// The item that was being read.
        what: String,
        /// Its offset.
        at: usize,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are left.
        left: usize,
    },
    /// A value that is wrong or not supported.
    #[error("`{what}` is {value}; expected {expected}")]
    Value {
        /// The field, key or tensor.
        what: String,
        /// Its value.
        value: String,
        /// The supported values.
        expected: String,
    },
    /// A missing metadata key or tensor.
    #[error("`{what}` is missing; expected {expected}")]
    Missing {
        /// The key or tensor.
        what: String,
        /// The content it should have.
        expected: String,
    },
    /// A part of a model in several files.
    #[error("in the part {}: {source}", path.display())]
    Part {
        /// The part.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<GgufError>,
    },
    /// A file that cannot be written.
    #[error("cannot write the GGUF file: {0}")]
    Write(#[from] std::io::Error),
}

impl GgufError {
    // By value, so that callers may pass numbers and texts alike.
    #[allow(clippy::needless_pass_by_value)]
    pub(super) fn value(
        what: impl Into<String>,
        value: impl ToString,
        expected: impl Into<String>,
    ) -> Self {
        GgufError::Value { what: what.into(), value: value.to_string(), expected: expected.into() }
    }

    pub(super) fn missing(what: impl Into<String>, expected: impl Into<String>) -> Self {
        GgufError::Missing { what: what.into(), expected: expected.into() }
    }
}
