//! The product: shares panels out over the threads and calls the kernels.
#![allow(unsafe_code)]

use std::ops::Range;

use crate::matrix::{PANEL, check};
use crate::memory::Parts;
use crate::{Activations, Format, Isa, KernelError, Pool, QuantMatrix, portable};

/// Greatest share of a thread in bytes of weights: small enough that a thread which
/// comes late finds work left, large enough for the prefetcher.
const SHARE: usize = 128 << 10;
/// Shares per thread that are aimed at.
const SHARES: usize = 4;
/// Greatest share of a thread in panels with AMX, whose rows come from memory once a share.
const MOST: usize = 16;
/// Bytes of weights times rows below which threads cost more than they bring.
const PARALLEL: usize = 32 << 10;

impl QuantMatrix {
    /// y = W·x for every row: `x` `[rows, inputs]` → `y` `[rows, outputs]`.
    ///
    /// A row's bits depend on the weights and the row alone: not on other rows, the
    /// threads or the kernels.
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
            #[cfg(target_arch = "x86_64")]
            tiles: &x.tiles,
            y: Parts::new(y),
        };
        let panels = self.panels();
        let aimed = panels.div_ceil(SHARES * pool.threads());
        let share = match self.bytes().saturating_mul(x.rows()) < PARALLEL {
            true => panels,
            // Even, since the kernels of many rows take two panels at a time.
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

/// A product as the kernels see it.
pub(crate) struct Job<'a> {
    pub format: Format,
    /// `[panels, blocks, tile]`
    pub packed: &'a [u8],
    pub panel_bytes: usize,
    pub blocks: usize,
    pub outputs: usize,
    pub rows: usize,
    /// As in [`Activations`].
    pub quants: &'a [i8],
    pub scales: &'a [f32],
    // For instructions that take unsigned weights: x86's.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    pub offsets: &'a [i32],
    pub sums: &'a [f32],
    #[cfg(target_arch = "x86_64")]
    pub tiles: &'a crate::tiles::Tiles,
    y: Parts<'a, f32>,
}

impl Job<'_> {
    /// Stores outputs of a panel in a row, from its output `from` on; what lies
    /// beyond the last output of the matrix is left out.
    #[inline(always)]
    pub(crate) fn store<const N: usize>(
        &self,
        row: usize,
        panel: usize,
        from: usize,
        sums: &[f32; N],
    ) {
        let first = panel * PANEL + from;
        let len = N.min(self.outputs.saturating_sub(first));
        // SAFETY: a panel belongs to one share and a share to one thread, and the
        // slice ends here.
        let place = unsafe { self.y.slice(row * self.outputs + first.min(self.outputs), len) };
        match place.as_mut_array::<N>() {
            Some(place) => *place = *sums,
            None => place.copy_from_slice(&sums[..len]),
        }
    }

    /// Where the outputs of `panels` whole panels from `panel` on go in `rows`: those of
    /// the first row, then `outputs` on the next row's.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn place(&self, rows: Range<usize>, panel: usize, panels: usize) -> *mut f32 {
        assert!(rows.end <= self.rows && (panel + panels) * PANEL <= self.outputs);
        self.y.at(rows.start * self.outputs + panel * PANEL)
    }

    /// The tiles of a panel.
    #[inline(always)]
    pub(crate) fn panel(&self, panel: usize) -> &[u8] {
        &self.packed[panel * self.panel_bytes..][..self.panel_bytes]
    }
}

fn multiply(isa: Isa, job: &Job<'_>, panels: Range<usize>) {
    match isa {
        // SAFETY (all): a pool only carries an instruction set that its machine runs.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => unsafe { crate::avx512::multiply(job, panels) },
        #[cfg(target_arch = "x86_64")]
        Isa::Amx => unsafe {
            let done = match job.tiles.rows {
                0 => panels.start,
                _ => crate::amx::multiply(job, panels.clone()),
            };
            crate::avx512::multiply(job, done..panels.end);
        },
        #[cfg(target_arch = "x86_64")]
        Isa::AvxVnni => unsafe { crate::avx2::vnni::multiply(job, panels) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => unsafe { crate::avx2::plain::multiply(job, panels) },
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => unsafe { crate::neon::multiply(job, panels) },
        _ => portable::multiply(job, panels),
    }
}

/// Splits `rows` into the fewest blocks of at most `most`, as even as can be.
pub(crate) fn row_blocks(rows: Range<usize>, most: usize) -> impl Iterator<Item = Range<usize>> {
    let (start, rows) = (rows.start, rows.len());
    let count = rows.div_ceil(most).max(1);
    (0..count).map(move |i| start + i * rows / count..start + (i + 1) * rows / count)
}
