//! The product of many rows with AVX2: 2 rows by a panel, with and without AVX-VNNI. It is in
//! assembly, because the compiler keeps weights in registers and spills the sums.
//!
//! Weights of 4 and 5 bits are read from a copy in bytes, so that they are unpacked once.
#![allow(unsafe_code)]

pub(super) mod kernels;

use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

use super::super::job::Job;
use super::super::layout::Layout;
use super::{HALF, nibbles};
use crate::BLOCK;
use crate::activations::MANY;
use crate::matrix::{PANEL, SCALES};

/// Rows of a block.
const ROWS: usize = 2;
/// The same for levels of 4 bits, which are unpacked fast.
const MANY_LEVELS: usize = 16;
/// Bytes of a block of a panel, a byte a weight.
const BYTES: usize = PANEL * BLOCK;
/// Distance in bytes at which weights are prefetched.
const AHEAD: usize = 4096;

thread_local! {
    /// A panel in bytes, in Q8_0's order: `[block, vector of 4 columns of 16 outputs]`.
    static UNPACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The sums of a block of rows: `[row, output]`.
pub(super) type Sums = [[f32; PANEL]; ROWS];

/// A kernel: rows `row..row + ROWS` by the outputs of a panel.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    multiply: unsafe fn(&Part<'_>) -> Sums,
    /// Whether it needs `Activations::pairs`.
    pairs: bool,
}

/// A panel and the rows that it is multiplied by.
pub(super) struct Part<'a> {
    /// Vectors of 4 columns, 64 bytes apart; blocks are `stride` bytes apart.
    weights: *const u8,
    stride: usize,
    /// Scales, `tile` bytes apart.
    heads: *const u8,
    tile: usize,
    /// `[ROWS, blocks, 32]`
    quants: &'a [i8],
    /// `[ROWS, blocks]`
    scales: &'a [f32],
    /// `[ROWS, blocks]`
    offsets: &'a [i32],
    /// `[ROWS, blocks]`
    pairs: &'a [i32],
    blocks: usize,
}

/// Multiplies all whole blocks of rows by the panels, if there is a kernel and rows are many.
/// Returns the number of rows done.
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply<L: Layout>(
    job: &Job<'_>,
    panels: Range<usize>,
    kernel: Option<Kernel>,
) -> usize {
    let Some(kernel) = kernel else { return 0 };
    // Activations of another instruction set have no pairs.
    let lacking = kernel.pairs && job.pairs.is_empty();
    if lacking || job.rows < if L::PLAIN && !L::FIFTH { MANY_LEVELS } else { MANY } {
        return 0;
    }
    let whole = job.rows / ROWS * ROWS;
    let pairs = if kernel.pairs { job.pairs } else { job.offsets };
    UNPACKED.with_borrow_mut(|bytes| {
        for panel in panels {
            let tiles = &job.panel(panel)[..job.blocks * L::TILE];
            let (weights, stride) = if L::NIBBLES {
                bytes.resize(job.blocks * BYTES, 0);
                unpack::<L>(tiles, bytes);
                (bytes.as_slice(), BYTES)
            } else {
                (&tiles[L::HEAD..], L::TILE)
            };
            for row in (0..whole).step_by(ROWS) {
                let first = row * job.blocks;
                let part = Part {
                    weights: weights.as_ptr(),
                    stride,
                    heads: tiles.as_ptr(),
                    tile: L::TILE,
                    quants: &job.quants[first * BLOCK..][..ROWS * job.blocks * BLOCK],
                    scales: &job.scales[first..][..ROWS * job.blocks],
                    offsets: &job.offsets[first..][..ROWS * job.blocks],
                    pairs: &pairs[first..][..ROWS * job.blocks],
                    blocks: job.blocks,
                };
                // SAFETY: weights and heads are a panel's, `blocks` blocks of both.
                let mut sums = unsafe { (kernel.multiply)(&part) };
                if L::MINIMA {
                    add_minima::<L>(job, tiles, row, &mut sums);
                }
                for (r, sums) in sums.iter().enumerate() {
                    job.store(row + r, panel, 0, sums);
                }
            }
        }
    });
    whole
}

/// Writes the stored weights of a panel of 4 or 5 bits as bytes.
#[target_feature(enable = "avx2")]
fn unpack<L: Layout>(tiles: &[u8], bytes: &mut [u8]) {
    for (tile, block) in tiles.chunks_exact(L::TILE).zip(bytes.as_chunks_mut::<BYTES>().0) {
        for line in (0..L::TILE).step_by(64) {
            _mm_prefetch::<_MM_HINT_T0>(tile.as_ptr().wrapping_add(AHEAD + line).cast());
        }
        for v in 0..4 {
            for half in 0..2 {
                // SAFETY: a tile of 4 or 5 bits, and 8 vectors of 64 bytes.
                unsafe {
                    let [low, high] = nibbles::<L>(tile.as_ptr(), v, half);
                    let to = block.as_mut_ptr().add(4 * HALF * half);
                    _mm256_storeu_si256(to.add(4 * PANEL * v).cast(), low);
                    _mm256_storeu_si256(to.add(4 * PANEL * (4 + v)).cast(), high);
                }
            }
        }
    }
}

/// Adds Σ minimum · Σx of a panel to the sums of a block of rows.
#[target_feature(enable = "avx2,fma,f16c")]
fn add_minima<L: Layout>(job: &Job<'_>, tiles: &[u8], row: usize, sums: &mut Sums) {
    let x = &job.sums[row * job.blocks..][..ROWS * job.blocks];
    let mut minima = [[_mm256_setzero_ps(); 2]; ROWS];
    for (b, tile) in tiles.chunks_exact(L::TILE).enumerate() {
        let w = tile[SCALES..][..SCALES].as_ptr();
        // SAFETY: 16 minima, and `x` has a number a block and row.
        unsafe {
            let w = [w, w.add(2 * HALF)].map(|w| _mm256_cvtph_ps(_mm_loadu_si128(w.cast())));
            for (r, minima) in minima.iter_mut().enumerate() {
                let x = _mm256_set1_ps(*x.get_unchecked(r * job.blocks + b));
                for (minimum, w) in minima.iter_mut().zip(w) {
                    *minimum = _mm256_fmadd_ps(w, x, *minimum);
                }
            }
        }
    }
    for (sums, minima) in sums.iter_mut().zip(minima) {
        for (sums, minimum) in sums.as_chunks_mut::<HALF>().0.iter_mut().zip(minima) {
            // SAFETY: half a panel's sums are 8 floats.
            unsafe {
                let sum = _mm256_add_ps(_mm256_loadu_ps(sums.as_ptr()), minimum);
                _mm256_storeu_ps(sums.as_mut_ptr(), sum);
            }
        }
    }
}
