//! The error type of the answer cache.

use std::path::PathBuf;

/// Errors of an answer cache.
#[derive(Debug, thiserror::Error)]
pub enum AnswersError {
    /// Another process uses it.
    #[error("the answer cache {path} is in use; end the other process or name another file")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read or written, or is not an answer cache.
    #[error("the answer cache {path}: {message}; name another file, or delete this one")]
    Store {
        /// The file.
        path: PathBuf,
        /// The database's error.
        message: String,
    },
}
