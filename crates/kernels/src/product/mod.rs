//! The product: shares out panels over the threads and calls the kernels.
#![allow(unsafe_code)]

mod job;
pub(crate) mod layout;
mod portable;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

use std::ops::Range;

use crate::matrix::check;
use crate::memory::Parts;
use crate::{Activations, Isa, KernelError, Pool, QuantMatrix};
use job::Job;

/// Greatest share of a thread in bytes of weights. It is small enough that a late thread
/// finds work left, and large enough for the prefetcher.
const SHARE: usize = 128 << 10;
/// Intended number of shares per thread.
const SHARES: usize = 4;
/// Greatest share of a thread in panels with AMX, which reads all rows once a share.
const MOST: usize = 16;
/// Bytes of weights times rows below which one thread is faster than several.
const PARALLEL: usize = 32 << 10;

impl QuantMatrix {
    /// y = W·x for every row: `x` `[rows, inputs]` → `y` `[rows, outputs]`.
    ///
    /// A row's bits depend on the weights and the row alone: not on other rows, on threads
    /// or on the instruction set.
    ///
    /// # Errors
    /// Rows of another width than `inputs`; `y` of another length than rows · outputs.
    pub fn matmul(&self, pool: &Pool, x: &Activations, y: &mut [f32]) -> Result<(), KernelError> {
        check("a row of activations", x.inputs(), self.inputs())?;
        check("the output of a product", y.len(), x.rows() * self.outputs())?;
        if y.is_empty() {
            return Ok(());
        }
        let job = Job {
            format: self.format(),
            packed: self.packed(),
            panel_bytes: self.panel_bytes(),
            blocks: self.blocks(),
            outputs: self.outputs(),
            rows: x.rows(),
            quants: &x.quants,
            scales: &x.scales,
            offsets: &x.offsets,
            sums: &x.sums,
            pairs: &x.pairs,
            #[cfg(target_arch = "x86_64")]
            tiles: &x.tiles,
            y: Parts::new(y),
        };
        let panels = self.panels();
        let aimed = panels.div_ceil(SHARES * pool.threads());
        let share = match self.bytes().saturating_mul(x.rows()) < PARALLEL {
            true => panels,
            // Even, since the kernels for many rows take two panels at a time.
            false if pool.isa() == Isa::Amx && x.tiled() => {
                aimed.div_ceil(2).min(MOST).next_multiple_of(2)
            }
            false => aimed.min((SHARE / self.panel_bytes()).max(1)).next_multiple_of(2),
        };
        pool.run(panels.div_ceil(share), &|part| {
            multiply(pool.isa(), &job, part * share..panels.min((part + 1) * share));
        });
        Ok(())
    }
}

fn multiply(isa: Isa, job: &Job<'_>, panels: Range<usize>) {
    match isa {
        // SAFETY (all): a pool only carries an instruction set that its machine runs.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { avx512::multiply(job, panels) },
        #[cfg(target_arch = "x86_64")]
        Isa::Amx => unsafe {
            let done = match job.tiles.rows {
                0 => panels.start,
                _ => amx::multiply(job, panels.clone()),
            };
            avx512::multiply(job, done..panels.end);
        },
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => unsafe { avx2::vnni::multiply(job, panels) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { avx2::plain::multiply(job, panels) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { neon::multiply(job, panels) },
        _ => portable::multiply(job, panels),
    }
}
