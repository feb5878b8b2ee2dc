//! Everything that can go wrong in this crate.

/// Why a matrix, a product or a pool cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A buffer of the wrong length.
    #[error("{what} holds {found} elements; expected {expected}")]
    Length {
        /// Which buffer.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length it should have.
        expected: usize,
    },
    /// A matrix without rows or columns, or one too large to address.
    #[error(
        "a matrix of {outputs} x {inputs} cannot be packed; expected both at least 1 and a size in memory"
    )]
    Size {
        /// Rows.
        outputs: usize,
        /// Columns.
        inputs: usize,
    },
    /// Blocks that do not divide a row.
    #[error("rows of {inputs} are not whole blocks of 32; quantise from f32 instead, which pads")]
    PartialBlock {
        /// Columns.
        inputs: usize,
    },
    /// A weight, a scale or a minimum that is NaN, infinite or beyond f16.
    #[error(
        "row {row}, block {block}: {value} cannot be a scale or minimum of weights; expected finite weights whose scale fits f16 (65504): check the file"
    )]
    NotFinite {
        /// Row of the matrix.
        row: usize,
        /// Block of 32 in the row.
        block: usize,
        /// The scale or minimum.
        value: f32,
    },
    /// A format that does not exist.
    #[error("`{wanted}` is no format of quantised weights; expected one of {available}")]
    Format {
        /// What was asked for.
        wanted: String,
        /// Names it knows.
        available: String,
    },
    /// An instruction set this machine does not have.
    #[error("this machine cannot run `{wanted}` kernels; it can run: {available}")]
    Isa {
        /// What was asked for.
        wanted: String,
        /// Names it knows.
        available: String,
    },
    /// Threads or memory that the system refuses.
    #[error("the system refuses {what}: {source}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
}
