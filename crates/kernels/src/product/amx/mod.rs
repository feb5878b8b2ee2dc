//! The product of many rows with AMX: blocks of 12 rows by 2 panels of outputs.
//!
//! `tdpbf16ps` (Intel SDM, volume 2) multiplies A, 12 rows of 32 activations, by B, 16
//! pairs of columns by 16 outputs. It adds the products to a tile C of 12 rows by 16
//! outputs in f32. The 8-bit integers of both are exact in bf16, and every sum of a
//! block's products is exact in f32. So the result is the block's integer, which is scaled
//! and added as on every other instruction set.
//!
//! `tdpbssd` would leave the sums as integers. Turning those into floats costs more than
//! tiles of twice the size, since beside AMX the vector units do one operation on floats a
//! cycle.
#![allow(unsafe_code)]

mod chunk;

use std::arch::asm;
use std::arch::x86_64::*;
use std::array;
use std::cell::RefCell;
use std::ops::Range;

use super::avx512::{add_fifth, add_minima};
use super::job::Job;
use super::layout::{Layout, Q4, Q4K, Q5, Q5K, Q8};
use crate::amx_tiles::{Line, ROWS};
use crate::matrix::PANEL;
use crate::{BLOCK, Format};
use chunk::{Chunk, LINES, PANELS, Sums, TILE, ZERO};

/// Most blocks of inputs at a time: their weights stay in the first-level cache while all
/// rows are multiplied by them.
const CHUNK: usize = 8;

/// Buffers that are kept from call to call.
#[derive(Default)]
struct Buffers {
    /// `[block, line]`
    weights: Vec<Line>,
    /// `[pair of panels, block of rows]`
    sums: Vec<Sums>,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = const {
        RefCell::new(Buffers { weights: Vec::new(), sums: Vec::new() })
    };
}

/// Multiplies all rows by the whole pairs among `panels`. Returns the first panel left.
///
/// # Safety
/// The machine has AMX ([`crate::amx_support::available`]) and AVX-512.
#[target_feature(enable = "avx512f,avx512bw")]
pub(crate) unsafe fn multiply(job: &Job<'_>, panels: Range<usize>) -> usize {
    let pairs = panels.len() / PANELS;
    BUFFERS.with_borrow_mut(|buffers| {
        configure();
        match job.format {
            Format::Q8_0 => by_chunks::<Q8>(job, panels.start, pairs, buffers),
            Format::Q4_0 => by_chunks::<Q4>(job, panels.start, pairs, buffers),
            Format::Q4K => by_chunks::<Q4K>(job, panels.start, pairs, buffers),
            Format::Q5_0 => by_chunks::<Q5>(job, panels.start, pairs, buffers),
            Format::Q5K => by_chunks::<Q5K>(job, panels.start, pairs, buffers),
        }
        // SAFETY: ends the use of tiles, so that the system need not keep them.
        unsafe { asm!("tilerelease", options(nostack)) };
    });
    panels.start + pairs * PANELS
}

/// Sets the shapes of the tiles, whose rows all have 64 bytes. The configuration is palette
/// 1, bytes of a row from byte 16 on, rows from byte 48 on. C is tiles 0 to 3, A 4 and 5,
/// B 6 and 7.
fn configure() {
    let mut config = Line([0; BLOCK]);
    config.0[0] = 1;
    for tile in 0..8 {
        config.0[8 + tile] = 64;
        let rows = if tile < 6 { ROWS } else { TILE };
        config.0[24 + tile / 2] |= (rows as u16) << (8 * (tile % 2));
    }
    // SAFETY: 64 bytes that describe tiles within the limits of palette 1.
    unsafe { asm!("ldtilecfg [{}]", in(reg) config.0.as_ptr(), options(nostack, readonly)) };
}

#[target_feature(enable = "avx512f,avx512bw")]
fn by_chunks<L: Layout>(job: &Job<'_>, panel: usize, pairs: usize, buffers: &mut Buffers) {
    let Buffers { weights, sums } = buffers;
    let count = job.rows.div_ceil(ROWS);
    if sums.len() < pairs * count {
        sums.resize(pairs * count, ZERO);
    }
    let sums = &mut sums[..pairs * count];
    // Number of blocks of rows whose sums go straight to the outputs: nothing is added, and
    // the outputs have room for whole blocks.
    let direct = |panel: usize| {
        let direct = !L::MINIMA && (panel + PANELS) * PANEL <= job.outputs;
        if direct { job.rows / ROWS } else { 0 }
    };
    let blocks = job.tiles.blocks;
    // Even, since the loop takes two blocks at a time.
    let chunk = blocks.div_ceil(blocks.div_ceil(CHUNK)).next_multiple_of(2);
    for first in (0..blocks).step_by(chunk) {
        let chunk = chunk.min(blocks - first);
        // An odd number of blocks ends with one of zeros.
        weights.clear();
        weights.resize(chunk * LINES, Line([0; BLOCK]));
        for (pair, sums) in sums.chunks_exact_mut(count).enumerate() {
            let panel = panel + pair * PANELS;
            for p in 0..PANELS {
                unpack::<L>(job, &job.panel(panel + p)[first * L::TILE..], p, weights);
            }
            let last = first + chunk == blocks;
            let direct = if last { direct(panel) } else { 0 };
            for (rows, y) in [(0..direct, true), (direct..count, false)] {
                let chunk = Chunk { first, weights, rows };
                // SAFETY: `multiply`'s contract, and it has configured tiles.
                unsafe { chunk.multiply(job, sums, y.then_some(panel)) };
            }
        }
    }
    for (pair, sums) in sums.chunks_exact(count).enumerate() {
        let panel = panel + pair * PANELS;
        for (i, sums) in sums.iter().enumerate().skip(direct(panel)) {
            for p in 0..PANELS {
                store::<L>(job, i * ROWS, panel + p, sums.0.map(|row| row[p]));
            }
        }
    }
}

/// Adds the minima to a block of rows and stores the rows that exist.
#[target_feature(enable = "avx512f")]
fn store<L: Layout>(job: &Job<'_>, row: usize, panel: usize, mut sums: [[f32; PANEL]; ROWS]) {
    let rows = ROWS.min(job.rows - row);
    if L::MINIMA && rows == ROWS {
        add_minima::<L, _>(job, job.panel(panel), row, &mut sums);
    } else if L::MINIMA {
        for (r, sums) in sums[..rows].iter_mut().enumerate() {
            add_minima::<L, _>(job, job.panel(panel), row + r, array::from_mut(sums));
        }
    }
    for (r, sums) in sums[..rows].iter().enumerate() {
        job.store(row + r, panel, 0, sums);
    }
}

/// Unpacks panel `p`: scales as f32, integers as bf16 in pairs of columns, for as many
/// blocks as `weights` has room for. The blocks that are unpacked next are prefetched.
#[target_feature(enable = "avx512f,avx512bw")]
fn unpack<L: Layout>(job: &Job<'_>, packed: &[u8], p: usize, weights: &mut [Line]) {
    let next = PANELS * job.panel_bytes;
    let (low, nibble) = (_mm512_set1_epi32(0xff), _mm512_set1_epi8(15));
    // An integer in the low bits of 2^23 is a float; subtracting 2^23 and the offset leaves
    // the weight.
    let two_23 = _mm512_set1_epi32(0x4b00_0000);
    let begin = _mm512_set1_ps(8_388_608.0 + f32::from(L::OFFSET as u8));
    let float = |w: __m512i| {
        let w = _mm512_or_si512(_mm512_and_si512(w, low), two_23);
        _mm512_castps_si512(_mm512_sub_ps(_mm512_castsi512_ps(w), begin))
    };
    let high = _mm512_set1_epi32(-65536);
    let pair = |a: __m512i, b: __m512i| {
        _mm512_or_si512(_mm512_srli_epi32::<16>(a), _mm512_and_si512(b, high))
    };
    for (tile, lines) in packed.chunks_exact(L::TILE).zip(weights.chunks_exact_mut(LINES)) {
        let (heads, lines) = lines.split_at_mut(PANELS);
        let lines = &mut lines[p * TILE..][..TILE];
        // Writes four columns as two lines.
        let mut put = |v: usize, w: __m512i| {
            let [a, b] = [
                pair(float(w), float(_mm512_srli_epi32::<8>(w))),
                pair(float(_mm512_srli_epi32::<16>(w)), float(_mm512_srli_epi32::<24>(w))),
            ];
            // SAFETY: a line is 64 bytes.
            unsafe {
                _mm512_store_si512(lines[2 * v].0.as_mut_ptr().cast(), a);
                _mm512_store_si512(lines[2 * v + 1].0.as_mut_ptr().cast(), b);
            }
        };
        // SAFETY: a tile is 32 bytes of scales, and after its head 4 or 8 vectors, and masks
        // where weights have fifth bits; prefetching reads nothing.
        unsafe {
            for line in (0..L::TILE).step_by(64) {
                _mm_prefetch::<_MM_HINT_T1>(tile.as_ptr().wrapping_add(next + line).cast());
            }
            let scales = _mm512_cvtph_ps(_mm256_loadu_si256(tile.as_ptr().cast()));
            _mm512_store_ps(heads[p].0.as_mut_ptr().cast(), scales);
            for v in 0..L::VECTORS {
                let w = _mm512_loadu_si512(tile[L::HEAD + 4 * PANEL * v..].as_ptr().cast());
                if L::NIBBLES {
                    let mut low = _mm512_and_si512(w, nibble);
                    let mut high = _mm512_and_si512(_mm512_srli_epi16::<4>(w), nibble);
                    if L::FIFTH {
                        let masks = tile[L::MASKS..].as_ptr().cast::<u64>();
                        low = add_fifth(low, masks.add(v).read_unaligned());
                        high = add_fifth(high, masks.add(4 + v).read_unaligned());
                    }
                    put(v, low);
                    put(4 + v, high);
                } else {
                    put(v, w);
                }
            }
        }
    }
}
