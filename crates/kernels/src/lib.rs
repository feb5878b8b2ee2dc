//! Quantised weight matrices on the CPU, and the threads they are multiplied on.
//!
//! Weights are Q8_0 or Q4_0 as ggml defines them (blocks of 32 with an f16 scale), or
//! Q4_K and Q5_K flattened into blocks of 32 with an f16 scale and an f16 minimum, repacked
//! at load so that one vector load feeds 16 outputs. Activations are
//! quantised to 8 bits per block of 32 with an f16 scale, as ggml's are. An output is
//!
//! ```text
//! y = Σ over blocks b, in order:  fma(w_scale[b] · x_scale[b], Σ w_int · x_int, y)
//! ```
//!
//! with the inner sum an exact integer. Minima add a sum of their own at the end,
//!
//! ```text
//! z = Σ over blocks b, in order:  fma(w_minimum[b], x_scale[b] · Σ x_int, z)
//! ```
//!
//! Every instruction set, row count and number
//! of threads follows that one order, so all of them give the same bits.
//!
//! Key types:
//! - [`QuantMatrix`]: packed weights `[outputs, inputs]`.
//! - [`Activations`]: quantised rows, made once and shared by several products.
//! - [`Pool`]: threads that spin briefly between jobs and then park.
//! - [`Isa`]: which kernels run; `TOKENROUTE_ISA` forces one.
//!
//! Usage:
//! ```
//! use tokenroute_kernels::{Activations, Format, Pool, QuantMatrix};
//!
//! # fn main() -> Result<(), tokenroute_kernels::KernelError> {
//! // 1. Threads, on the best instruction set of the machine.
//! let pool = Pool::new(2)?;
//! // 2. Weights, row by row: here 48 outputs of 64 inputs.
//! let weights = QuantMatrix::from_rows(&pool, Format::Q8_0, 48, 64, |output, row| {
//!     row.fill(output as f32);
//! })?;
//! // 3. Two rows of activations; buffers are reused from call to call.
//! let mut x = Activations::default();
//! x.quantise(&pool, &[1.0; 2 * 64], 64)?;
//! // 4. The product, `[2, 48]`.
//! let mut y = [0.0; 2 * 48];
//! weights.matmul(&pool, &x, &mut y)?;
//! assert!((y[48 + 3] - 192.0).abs() < 0.2);
//! # Ok(())
//! # }
//! ```

mod activations;
mod bandwidth;
#[cfg(target_arch = "x86_64")]
mod chunk;
mod error;
mod format;
mod isa;
pub mod k_quants;
mod layout;
mod matrix;
mod memory;
mod pool;
mod product;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(target_arch = "x86_64")]
mod prefill;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub use activations::Activations;
pub use error::KernelError;
pub use format::{BLOCK, Format};
pub use isa::Isa;
pub use matrix::QuantMatrix;
pub use pool::Pool;
