//! The product with AVX-512 VNNI. A vector is 4 columns of 16 outputs.
#![allow(unsafe_code)]
// Loops over registers need their indices.
#![allow(clippy::needless_range_loop)]

mod many_rows;

use std::arch::x86_64::*;
use std::ops::Range;

use super::job::{Job, row_blocks};
use super::layout::{Layout, Q4, Q4K, Q5, Q5K, Q8};
use crate::matrix::{PANEL, SCALES};
use crate::{BLOCK, Format};

pub(super) use many_rows::add_minima;

/// Rows up to which one panel is multiplied at a time, limited by memory.
const FEW: usize = 8;
/// Rows from which unpacking 4 bits pays off.
const MANY: usize = 48;
/// Distance in bytes at which weights are prefetched.
const AHEAD: usize = 4096;

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(crate) fn multiply(job: &Job<'_>, panels: Range<usize>) {
    match job.format {
        Format::Q8_0 => by_rows::<Q8>(job, panels),
        Format::Q4_0 => by_rows::<Q4>(job, panels),
        Format::Q4K => by_rows::<Q4K>(job, panels),
        Format::Q5_0 => by_rows::<Q5>(job, panels),
        Format::Q5K => by_rows::<Q5K>(job, panels),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn by_rows<L: Layout>(job: &Job<'_>, panels: Range<usize>) {
    let mut panel = panels.start;
    if job.rows > if L::NIBBLES { MANY } else { FEW } {
        while panel + many_rows::PANELS <= panels.end {
            let done = many_rows::multiply(job, panel);
            for panel in panel..panel + many_rows::PANELS {
                few_rows::<L>(job, panel, done..job.rows);
            }
            panel += many_rows::PANELS;
        }
    }
    for panel in panel..panels.end {
        few_rows::<L>(job, panel, 0..job.rows);
    }
}

/// Adds 16 to the bytes whose bit is set.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) fn add_fifth(w: __m512i, bits: u64) -> __m512i {
    _mm512_mask_add_epi8(w, bits, w, _mm512_set1_epi8(16))
}

/// Rows by one panel, a few at a time.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn few_rows<L: Layout>(job: &Job<'_>, panel: usize, rows: Range<usize>) {
    for rows in row_blocks(rows, FEW) {
        match rows.len() {
            0 => {}
            1 => block::<L, 1, 1>(job, panel, rows.start),
            2 => block::<L, 2, 1>(job, panel, rows.start),
            3 => block::<L, 3, 1>(job, panel, rows.start),
            4 => block::<L, 4, 1>(job, panel, rows.start),
            5 => block::<L, 5, 1>(job, panel, rows.start),
            6 => block::<L, 6, 1>(job, panel, rows.start),
            7 => block::<L, 7, 1>(job, panel, rows.start),
            _ => block::<L, 8, 1>(job, panel, rows.start),
        }
    }
}

/// Rows `row..row + R` by panels `panel..panel + P`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn block<L: Layout, const R: usize, const P: usize>(job: &Job<'_>, panel: usize, row: usize) {
    let blocks = job.blocks;
    let first = row * blocks;
    assert!(row + R <= job.rows && job.quants.len() >= job.rows * blocks * BLOCK);
    assert!(job.scales.len() >= job.rows * blocks && job.offsets.len() >= job.rows * blocks);
    assert!(job.sums.len() >= job.rows * blocks);
    let tiles: [*const u8; P] = std::array::from_fn(|p| job.panel(panel + p).as_ptr());
    let (x, scales, offsets) = (job.quants.as_ptr(), job.scales.as_ptr(), job.offsets.as_ptr());
    let nibble = _mm512_set1_epi8(15);
    let mut sums = [[_mm512_setzero_ps(); P]; R];
    let mut minima = [[_mm512_setzero_ps(); P]; R];
    for b in 0..blocks {
        let mut dots = [[_mm512_setzero_si512(); P]; R];
        // SAFETY (all pointers): block `b` of a row and tile `b` of a panel are in
        // bounds by the asserts and by `Job::panel`; prefetching reads nothing.
        unsafe {
            if !L::PLAIN {
                for r in 0..R {
                    let offset = _mm512_set1_epi32(*offsets.add(first + r * blocks + b));
                    dots[r] = [_mm512_sra_epi32(offset, _mm_cvtsi32_si128(L::SHIFT)); P];
                }
            }
            let columns = |r: usize, group: usize| {
                let at = x.add((first + r * blocks + b) * BLOCK + 4 * group);
                _mm512_set1_epi32(at.cast::<i32>().read_unaligned())
            };
            for v in 0..L::VECTORS {
                for p in 0..P {
                    let at = tiles[p].add(b * L::TILE + L::HEAD + 4 * PANEL * v);
                    if P == 1 {
                        _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD).cast());
                    }
                    let w = _mm512_loadu_si512(at.cast());
                    if L::NIBBLES {
                        let mut low = _mm512_and_si512(w, nibble);
                        let mut high = _mm512_and_si512(_mm512_srli_epi16::<4>(w), nibble);
                        if L::FIFTH {
                            let masks = tiles[p].add(b * L::TILE + L::MASKS).cast::<u64>();
                            low = add_fifth(low, masks.add(v).read_unaligned());
                            high = add_fifth(high, masks.add(4 + v).read_unaligned());
                        }
                        for r in 0..R {
                            dots[r][p] = _mm512_dpbusd_epi32(dots[r][p], low, columns(r, v));
                            dots[r][p] = _mm512_dpbusd_epi32(dots[r][p], high, columns(r, 4 + v));
                        }
                    } else {
                        for r in 0..R {
                            dots[r][p] = _mm512_dpbusd_epi32(dots[r][p], w, columns(r, v));
                        }
                    }
                }
            }
            for p in 0..P {
                let head = tiles[p].add(b * L::TILE);
                let w = _mm512_cvtph_ps(_mm256_loadu_si256(head.cast()));
                for r in 0..R {
                    let x = _mm512_set1_ps(*scales.add(first + r * blocks + b));
                    let dot = _mm512_cvtepi32_ps(dots[r][p]);
                    sums[r][p] = _mm512_fmadd_ps(_mm512_mul_ps(w, x), dot, sums[r][p]);
                }
                if L::MINIMA {
                    let w = _mm512_cvtph_ps(_mm256_loadu_si256(head.add(SCALES).cast()));
                    for r in 0..R {
                        let x = _mm512_set1_ps(*job.sums.as_ptr().add(first + r * blocks + b));
                        minima[r][p] = _mm512_fmadd_ps(w, x, minima[r][p]);
                    }
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        for (p, sums) in sums.iter().enumerate() {
            let mut out = [0.0; PANEL];
            let sums = if L::MINIMA { _mm512_add_ps(*sums, minima[r][p]) } else { *sums };
            // SAFETY: `out` holds 16 floats.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sums) };
            job.store(row + r, panel + p, 0, &out);
        }
    }
}
