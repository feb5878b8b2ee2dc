//! The product with NEON's dot product extension. A vector is 4 columns of 4 outputs.
//!
//! So far these kernels have run under qemu 11.1 only (`just test-aarch64`, rustc 1.96).
//! There the crate's tests pass on processor `max`, with the bits of the portable kernels.
//! They also pass on `cortex-a53`, which lacks the extension and runs the portable kernels.
//! The speed on a real machine is unknown.
#![allow(unsafe_code)]
// Loops over registers need their indices.
#![allow(clippy::needless_range_loop)]

use std::arch::aarch64::*;
use std::arch::asm;
use std::ops::Range;

use half::f16;

use super::job::{Job, row_blocks};
use super::layout::{Layout, Q4, Q4K, Q5, Q5K, Q8};
use crate::matrix::{PANEL, SCALES};
use crate::{BLOCK, Format};

/// Rows of a register block.
const BLOCK_ROWS: usize = 4;
/// Vectors of a panel.
const VECTORS: usize = PANEL / 4;

#[target_feature(enable = "neon,dotprod")]
pub(crate) fn multiply(job: &Job<'_>, panels: Range<usize>) {
    for panel in panels {
        for rows in row_blocks(0..job.rows, BLOCK_ROWS) {
            match job.format {
                Format::Q8_0 => by_rows::<Q8>(job, panel, rows),
                Format::Q4_0 => by_rows::<Q4>(job, panel, rows),
                Format::Q4K => by_rows::<Q4K>(job, panel, rows),
                Format::Q5_0 => by_rows::<Q5>(job, panel, rows),
                Format::Q5K => by_rows::<Q5K>(job, panel, rows),
            }
        }
    }
}

#[target_feature(enable = "neon,dotprod")]
fn by_rows<L: Layout>(job: &Job<'_>, panel: usize, rows: Range<usize>) {
    match rows.len() {
        1 => block::<L, 1>(job, panel, rows.start),
        2 => block::<L, 2>(job, panel, rows.start),
        3 => block::<L, 3>(job, panel, rows.start),
        _ => block::<L, 4>(job, panel, rows.start),
    }
}

/// dot + Σ of 4 products per lane. The intrinsic is not stable yet.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut dot: int32x4_t, w: int8x16_t, x: int8x16_t) -> int32x4_t {
    // SAFETY: reads and writes the named registers only.
    unsafe {
        asm!(
            "sdot {0:v}.4s, {1:v}.16b, {2:v}.16b",
            inout(vreg) dot, in(vreg) w, in(vreg) x,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    dot
}

/// Adds 16 to the bytes whose bit is set: bit j belongs to byte j.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn add_fifth(w: uint8x16_t, bits: u16) -> uint8x16_t {
    let [low, high] = bits.to_le_bytes();
    let bits = vcombine_u8(vdup_n_u8(low), vdup_n_u8(high));
    let bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201));
    vorrq_u8(w, vandq_u8(vtstq_u8(bits, bit), vdupq_n_u8(16)))
}

/// Rows `row..row + R` by one panel.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn block<L: Layout, const R: usize>(job: &Job<'_>, panel: usize, row: usize) {
    let blocks = job.blocks;
    let first = row * blocks;
    assert!(row + R <= job.rows && job.quants.len() >= job.rows * blocks * BLOCK);
    assert!(job.scales.len() >= job.rows * blocks);
    let tiles = job.panel(panel);
    let x = job.quants.as_ptr();
    let mut sums = [[vdupq_n_f32(0.0); VECTORS]; R];
    let mut minima = [[vdupq_n_f32(0.0); VECTORS]; R];
    for (b, tile) in tiles.chunks_exact(L::TILE).enumerate() {
        let (heads, weights) = tile.split_at(L::HEAD);
        let mut dots = [[vdupq_n_s32(0); VECTORS]; R];
        // SAFETY (all pointers): block `b` of a row is in bounds by the asserts, and
        // a tile is as long as its format says.
        unsafe {
            let columns = |r: usize, group: usize| {
                let at = x.add((first + r * blocks + b) * BLOCK + 4 * group);
                vreinterpretq_s8_s32(vdupq_n_s32(at.cast::<i32>().read_unaligned()))
            };
            for v in 0..L::VECTORS {
                for q in 0..VECTORS {
                    let w = vld1q_u8(weights.as_ptr().add(4 * PANEL * v + 16 * q));
                    if L::NIBBLES {
                        let offset = vdupq_n_s8(L::OFFSET);
                        let signed = |w| vsubq_s8(vreinterpretq_s8_u8(w), offset);
                        let (mut low, mut high) = (vandq_u8(w, vdupq_n_u8(15)), vshrq_n_u8::<4>(w));
                        if L::FIFTH {
                            let masks = tile.as_ptr().add(L::MASKS).cast::<u16>().add(q);
                            low = add_fifth(low, masks.add(4 * v).read_unaligned());
                            high = add_fifth(high, masks.add(4 * (4 + v)).read_unaligned());
                        }
                        let (low, high) = (signed(low), signed(high));
                        for r in 0..R {
                            dots[r][q] = sdot(dots[r][q], low, columns(r, v));
                            dots[r][q] = sdot(dots[r][q], high, columns(r, 4 + v));
                        }
                    } else {
                        let w = vreinterpretq_s8_u8(veorq_u8(w, vdupq_n_u8(0x80)));
                        for r in 0..R {
                            dots[r][q] = sdot(dots[r][q], w, columns(r, v));
                        }
                    }
                }
            }
            let wide = floats(&heads[..SCALES]);
            for q in 0..VECTORS {
                let w = vld1q_f32(wide.as_ptr().add(4 * q));
                for r in 0..R {
                    let x = vdupq_n_f32(job.scales[first + r * blocks + b]);
                    let dot = vcvtq_f32_s32(dots[r][q]);
                    sums[r][q] = vfmaq_f32(sums[r][q], vmulq_f32(w, x), dot);
                }
            }
            if L::MINIMA {
                let wide = floats(&heads[SCALES..]);
                for q in 0..VECTORS {
                    let w = vld1q_f32(wide.as_ptr().add(4 * q));
                    for r in 0..R {
                        let x = vdupq_n_f32(job.sums[first + r * blocks + b]);
                        minima[r][q] = vfmaq_f32(minima[r][q], w, x);
                    }
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let mut out = [0.0; PANEL];
        for (q, sums) in sums.iter().enumerate() {
            let sums = if L::MINIMA { vaddq_f32(*sums, minima[r][q]) } else { *sums };
            // SAFETY: `out` holds 16 floats.
            unsafe { vst1q_f32(out.as_mut_ptr().add(4 * q), sums) };
        }
        job.store(row + r, panel, 0, &out);
    }
}

/// Scales or minima of a tile.
fn floats(halves: &[u8]) -> [f32; PANEL] {
    let mut wide = [0.0; PANEL];
    for (wide, half) in wide.iter_mut().zip(halves.chunks_exact(2)) {
        *wide = f16::from_le_bytes([half[0], half[1]]).to_f32();
    }
    wide
}
