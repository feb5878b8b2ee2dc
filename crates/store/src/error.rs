//! Every way in which a file can fail to become a value, or a value a file.

use std::io;
use std::path::PathBuf;

/// What went wrong with which file.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused a read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file system refused a write. What the path held before is whole.
    #[error("cannot write {}: {source}; what was there before is unchanged", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A line of a question file that is no question.
    #[error("{}, line {line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The field, what it holds and what was expected.
        what: String,
    },
    /// A row of a Parquet file that is no question.
    #[error("{}, row {row}: {what}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        row: usize,
        /// The column, what it holds and what was expected.
        what: String,
    },
    /// A file whose content is damaged or not of the expected layout.
    #[error("{} is not a usable {kind}: {what}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// "label table", "router file", ...
        kind: &'static str,
        /// What is wrong and what was expected.
        what: String,
    },
    /// A file that is not the one its card or manifest describes.
    #[error(
        "{} has {what} {found}, but {card} says {expected}; restore the file or update the card",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// The card or manifest that describes it.
        card: String,
        /// "SHA-256" or "question count".
        what: &'static str,
        /// What the card says.
        expected: String,
        /// What the file has.
        found: String,
    },
    /// A split that the data set does not have.
    #[error("{} has no split {wanted:?}; it has {known}", path.display())]
    NoSplit {
        /// The data set's card.
        path: PathBuf,
        /// The split asked for.
        wanted: String,
        /// The splits there are.
        known: String,
    },
    /// A value that cannot be put into a file.
    #[error("cannot encode {kind}: {what}")]
    Encode {
        /// "label table", "router file", ...
        kind: &'static str,
        /// What is wrong with it.
        what: String,
    },
}
