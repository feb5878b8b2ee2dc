//! The error type of this crate.

use std::io;
use std::path::PathBuf;

/// A failure to read or write a file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A read failed.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A write failed. The earlier content of the path is unchanged.
    #[error("cannot write {}: {source}; its earlier content is unchanged", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line of a text file does not fit: a question, or a row of a table.
    #[error("{}, line {line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The field, its value and what was expected.
        what: String,
    },
    /// A row of a Parquet file does not fit.
    #[error("{}, row {row}: {what}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        row: usize,
        /// The column, its value and what was expected.
        what: String,
    },
    /// A file is damaged or has another layout than expected.
    #[error("{} is not a usable {kind}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// "label table", "router file", ...
        kind: &'static str,
        /// The problem and what was expected.
        what: String,
    },
    /// A file differs from its card or manifest.
    #[error(
        "{} has {what} {found}, but {card} has {expected}; restore the file or update the card",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The card or manifest that describes it.
        card: String,
        /// "SHA-256" or "question count".
        what: &'static str,
        /// The value in the card.
        expected: String,
        /// The value of the file.
        found: String,
    },
    /// Another process holds the lock of a folder.
    #[error("{holder} works in {}; wait until it ends", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The words of the process that holds the lock.
        holder: String,
    },
    /// The data set does not have this split.
    #[error("{} has no split {wanted:?}; it has {known}", path.display())]
    NoSplit {
        /// The data set's card.
        path: PathBuf,
        /// The requested split.
        wanted: String,
        /// The existing splits.
        known: String,
    },
    /// A value cannot be encoded.
    #[error("cannot encode {kind}: {what}")]
    Encode {
        /// "label table", "router file", ...
        kind: &'static str,
        /// The problem.
        what: String,
    },
}
