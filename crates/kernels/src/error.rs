//! The errors of this crate.

/// A matrix, a product or a pool that cannot be made.
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
    /// A matrix without rows or columns, or too large to address.
    #[error(
        "a matrix of {outputs} x {inputs} cannot be packed; expected both at least 1 and a size in memory"
    )]
    Size {
        /// Rows.
        outputs: usize,
        /// Columns.
        inputs: usize,
    },
    /// A row that is not whole blocks.
    #[error("rows of {inputs} are not whole blocks of 32; quantise from f32, which pads them")]
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
    /// An unknown format.
    #[error("unknown format of quantised weights `{wanted}`; expected one of {available}")]
    Format {
        /// The name given.
        wanted: String,
        /// The names that are known.
        available: String,
    },
    /// An instruction set that this machine lacks.
    #[error("this machine cannot run `{wanted}` kernels; it can run: {available}")]
    Isa {
        /// The name given.
        wanted: String,
        /// The names that are known.
        available: String,
    },
    /// Threads or memory that the operating system refuses.
    #[error("the system refuses {what}: {source}")]
    System {
        /// The resource.
        what: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
}
