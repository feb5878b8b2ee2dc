//! Failures of an experiment.

use std::io;
use std::path::PathBuf;

/// Why an experiment cannot be read or carried out.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// An experiment file that cannot be read.
    #[error("cannot read the experiment {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file that is not TOML, or a key of the wrong type.
    #[error("in {path}: {message}")]
    Toml {
        /// The file.
        path: PathBuf,
        /// The parser's message, which names the line.
        message: String,
    },
    /// A value that cannot work.
    #[error("in {path}: {key} {what}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, dotted.
        key: String,
        /// Its value, and what is expected.
        what: String,
    },
    /// A `--set` that cannot be applied.
    #[error("--set {text}: {message}")]
    Override {
        /// The argument.
        text: String,
        /// What is wrong with it.
        message: String,
    },
}
