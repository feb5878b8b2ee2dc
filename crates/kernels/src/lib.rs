//! Quantised weight matrices on the CPU, and the threads that multiply them.
//!
//! Weights are Q8_0, Q5_0 or Q4_0 as ggml defines them: blocks of 32 with an f16 scale. Q4_K
//! and Q5_K are flattened into blocks of 32 with an f16 scale and an f16 minimum. All are packed
//! at load so that one vector load feeds 16 outputs. Activations are quantised to 8 bits
//! per block of 32 with an f16 scale, as ggml does. An output is
//!
//! ```text
//! y = Σ over blocks b, in order:  fma(w_scale[b] · x_scale[b], Σ w_int · x_int, y)
//! ```
//!
//! with the inner sum an exact integer. Formats with minima add a second sum at the end,
//!
//! ```text
//! z = Σ over blocks b, in order:  fma(w_minimum[b], x_scale[b] · Σ x_int, z)
//! ```
//!
//! Every instruction set, row count and number of threads follows that one order, so all
//! of them give the same bits.
//!
//! Key types:
//! - [`QuantMatrix`]: packed weights `[outputs, inputs]`.
//! - [`Activations`]: quantised rows, made once and shared by several products.
//! - [`Pool`]: threads that spin briefly between jobs and then park.
//! - [`Isa`]: the instruction set of the kernels; `TOKENROUTE_ISA` forces one.
//!
//! Usage:
//! ```
//! use tokenroute_kernels::{Activations, Format, Pool, QuantMatrix};
//!
//! # fn main() -> Result<(), tokenroute_kernels::KernelError> {
//! // 1. Start threads on the best instruction set of the machine.
//! let pool = Pool::new(2)?;
//! // 2. Pack weights row by row: here 48 outputs of 64 inputs.
//! let weights = QuantMatrix::from_rows(&pool, Format::Q8_0, 48, 64, |output, row| {
//!     row.fill(output as f32);
//! })?;
//! // 3. Quantise two rows of activations; buffers are reused from call to call.
//! let mut x = Activations::default();
//! x.quantise(&pool, &[1.0; 2 * 64], 64)?;
//! // 4. Multiply: the product is `[2, 48]`.
//! let mut y = [0.0; 2 * 48];
//! weights.matmul(&pool, &x, &mut y)?;
//! assert!((y[48 + 3] - 192.0).abs() < 0.2);
//! # Ok(())
//! # }
//! ```

mod activations;
#[cfg(target_arch = "x86_64")]
mod amx_support;
#[cfg(target_arch = "x86_64")]
mod amx_tiles;
mod bandwidth;
mod error;
mod format;
mod halves;
mod isa;
pub mod k_quants;
mod matrix;
mod memory;
mod packed_memory;
mod pool;
mod product;
mod product_limit;

pub use activations::Activations;
pub use error::KernelError;
pub use format::{BLOCK, Format};
pub use halves::widen;
pub use isa::Isa;
pub use matrix::QuantMatrix;
pub use pool::Pool;
