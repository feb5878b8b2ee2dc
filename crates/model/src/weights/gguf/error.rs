//! Why a GGUF file cannot be read, understood or written.

use std::path::PathBuf;

/// Why a GGUF file cannot be read, understood or written.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// A file that cannot be opened or mapped.
    #[error("cannot read {}: {source}; expected a GGUF file", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file that ends, or a length that reaches, beyond its last byte.
    #[error(
        "{what} at byte {at} needs {needed} bytes, but the file has {left} left; it is cut short or damaged: fetch it again"
    )]
    Truncated {
        /// What was being read.
        what: String,
        /// Where.
        at: usize,
        /// Bytes it needs.
        needed: u64,
        /// Bytes there are.
        left: usize,
    },
    /// A value that cannot be right, or that is not supported.
    #[error("`{what}` is {value}; expected {expected}")]
    Value {
        /// The field, key or tensor.
        what: String,
        /// What it says.
        value: String,
        /// What can be read.
        expected: String,
    },
    /// A metadata key or a tensor that is not there.
    #[error("there is no `{what}`; expected {expected}")]
    Missing {
        /// The key or tensor.
        what: String,
        /// What it should hold.
        expected: String,
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
