//! The product of many rows with AVX2: 4 rows by half a panel, with and without AVX-VNNI. It
//! is in assembly, because the compiler keeps weights in registers and spills the sums.
//!
//! Weights of 4 and 5 bits are read from a copy in bytes, so that they are unpacked once.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::RefCell;
use std::ops::Range;

use super::super::job::Job;
use super::super::layout::Layout;
use super::{HALF, nibbles};
use crate::BLOCK;
use crate::matrix::{PANEL, SCALES};

/// Rows of a block.
const ROWS: usize = 4;
/// Rows from which the copy in bytes pays off.
const MANY: usize = 8;
/// Distance in bytes at which weights are prefetched.
const AHEAD: usize = 4096;
/// Bytes of a block of a panel, a byte a weight.
const BYTES: usize = PANEL * BLOCK;

thread_local! {
    /// A panel in bytes, in Q8_0's order: `[block, vector of 4 columns of 16 outputs]`.
    static UNPACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The sums of a block of rows: `[row, output]`.
pub(super) type Sums = [[f32; HALF]; ROWS];

/// A kernel: rows `row..row + ROWS` by the outputs of half a panel.
pub(super) type Kernel = unsafe fn(&Half<'_>) -> Sums;

/// Half a panel and the rows that it is multiplied by.
pub(super) struct Half<'a> {
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
    if job.rows < if L::NIBBLES { MANY } else { ROWS } {
        return 0;
    }
    let whole = job.rows / ROWS * ROWS;
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
                for half in 0..2 {
                    let first = row * job.blocks;
                    let part = Half {
                        weights: weights[4 * HALF * half..].as_ptr(),
                        stride,
                        heads: tiles[2 * HALF * half..].as_ptr(),
                        tile: L::TILE,
                        quants: &job.quants[first * BLOCK..][..ROWS * job.blocks * BLOCK],
                        scales: &job.scales[first..][..ROWS * job.blocks],
                        offsets: &job.offsets[first..][..ROWS * job.blocks],
                        blocks: job.blocks,
                    };
                    // SAFETY: weights and heads are a panel's, `blocks` blocks of both.
                    let mut sums = unsafe { kernel(&part) };
                    if L::MINIMA {
                        add_minima::<L>(job, tiles, row, half, &mut sums);
                    }
                    for (r, sums) in sums.iter().enumerate() {
                        job.store(row + r, panel, HALF * half, sums);
                    }
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

/// Adds Σ minimum · Σx of half a panel to the sums of a block of rows.
#[target_feature(enable = "avx2,fma,f16c")]
fn add_minima<L: Layout>(job: &Job<'_>, tiles: &[u8], row: usize, half: usize, sums: &mut Sums) {
    let x = &job.sums[row * job.blocks..][..ROWS * job.blocks];
    let mut minima = [_mm256_setzero_ps(); ROWS];
    for (b, tile) in tiles.chunks_exact(L::TILE).enumerate() {
        // SAFETY: 8 minima, and `x` has a number a block and row.
        unsafe {
            let w = tile[SCALES + 2 * HALF * half..][..2 * HALF].as_ptr();
            let w = _mm256_cvtph_ps(_mm_loadu_si128(w.cast()));
            for (r, minimum) in minima.iter_mut().enumerate() {
                let x = _mm256_set1_ps(*x.get_unchecked(r * job.blocks + b));
                *minimum = _mm256_fmadd_ps(w, x, *minimum);
            }
        }
    }
    for (sums, minimum) in sums.iter_mut().zip(minima) {
        // SAFETY: a row's sums are 8 floats.
        unsafe {
            let sum = _mm256_add_ps(_mm256_loadu_ps(sums.as_ptr()), minimum);
            _mm256_storeu_ps(sums.as_mut_ptr(), sum);
        }
    }
}

/// Reads vector `$v` of the weights, and calls `$row` with every row's sums and columns.
macro_rules! columns {
    ($row:ident, $v:literal) => {
        concat!(
            "vmovdqu ymm12, [{w} + 64*", $v, "]\n",
            "prefetcht0 byte ptr [{w} + 2048 + 64*", $v, "]\n",
            $row!(@weights),
            $row!("0", "{x} + 4*", $v),
            $row!("1", "{x} + {row} + 4*", $v),
            $row!("2", "{x} + 2*{row} + 4*", $v),
            $row!("3", "{x3} + 4*", $v),
        )
    };
}

/// Adds levels · columns to a row's sums in 16 bits.
macro_rules! levels {
    (@weights) => {
        ""
    };
    ($r:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd ymm13, dword ptr [",
            $at,
            $v,
            "]\n",
            "vpmaddubsw ymm13, ymm12, ymm13\n",
            "vpaddw ymm",
            $r,
            ", ymm",
            $r,
            ", ymm13\n",
        )
    };
}

/// Adds (byte − 128) · columns to a row's sums in 32 bits, as |w|·(±x).
macro_rules! bytes {
    (@weights) => {
        "vpxor ymm12, ymm12, ymm14\nvpabsb ymm4, ymm12\n"
    };
    ($r:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd ymm13, dword ptr [",
            $at,
            $v,
            "]\n",
            "vpsignb ymm13, ymm13, ymm12\n",
            "vpmaddubsw ymm13, ymm4, ymm13\n",
            "vpmaddwd ymm13, ymm13, ymm15\n",
            "vpaddd ymm",
            $r,
            ", ymm",
            $r,
            ", ymm13\n",
        )
    };
}

/// Adds stored weights · columns to a row's sums in 32 bits.
macro_rules! vnni {
    (@weights) => {
        ""
    };
    ($r:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd ymm13, dword ptr [",
            $at,
            $v,
            "]\n",
            "{{vex}} vpdpbusd ymm",
            $r,
            ", ymm12, ymm13\n",
        )
    };
}

/// Four lines that differ by the row.
macro_rules! rows {
    ($line:ident) => {
        concat!(
            $line!("0", "4", "8", "{scale}", "{offset}"),
            $line!("1", "5", "9", "{scale} + {number}", "{offset} + {number}"),
            $line!("2", "6", "10", "{scale} + 2*{number}", "{offset} + 2*{number}"),
            $line!("3", "7", "11", "{scale3}", "{offset3}"),
        )
    };
}

macro_rules! clear {
    ($r:literal, $($_:literal),*) => {
        concat!("vpxor ymm", $r, ", ymm", $r, ", ymm", $r, "\n")
    };
}

/// Moves the sums in 16 bits to sums in 32 bits, and starts anew.
macro_rules! widen {
    ($r:literal, $wide:literal, $($_:literal),*) => {
        concat!(
            "vpmaddwd ymm",
            $wide,
            ", ymm",
            $r,
            ", ymm15\n",
            "vpxor ymm",
            $r,
            ", ymm",
            $r,
            ", ymm",
            $r,
            "\n",
        )
    };
}

/// The sums of both halves in 32 bits.
macro_rules! close {
    ($r:literal, $wide:literal, $($_:literal),*) => {
        concat!(
            "vpmaddwd ymm",
            $r,
            ", ymm",
            $r,
            ", ymm15\n",
            "vpaddd ymm",
            $r,
            ", ymm",
            $r,
            ", ymm",
            $wide,
            "\n",
        )
    };
}

macro_rules! nothing {
    ($($_:literal),*) => {
        ""
    };
}

/// Adds what undoes the weights' offset.
macro_rules! undo {
    ($shift:literal, $r:literal, $at:literal) => {
        concat!(
            "vpbroadcastd ymm13, dword ptr [",
            $at,
            "]\n",
            "vpsrad ymm13, ymm13, ",
            $shift,
            "\n",
            "vpaddd ymm",
            $r,
            ", ymm",
            $r,
            ", ymm13\n",
        )
    };
}
macro_rules! undo_8 {
    ($r:literal, $a:literal, $b:literal, $c:literal, $at:literal) => {
        undo!("4", $r, $at)
    };
}
macro_rules! undo_16 {
    ($r:literal, $a:literal, $b:literal, $c:literal, $at:literal) => {
        undo!("3", $r, $at)
    };
}

/// Scales a row's integers of this block and adds them to its sums.
macro_rules! scale {
    ($r:literal, $_wide:literal, $sum:literal, $at:literal, $_offset:literal) => {
        concat!(
            "vbroadcastss ymm13, dword ptr [",
            $at,
            "]\n",
            "vcvtdq2ps ymm",
            $r,
            ", ymm",
            $r,
            "\n",
            "vmulps ymm13, ymm12, ymm13\n",
            "vfmadd231ps ymm",
            $sum,
            ", ymm13, ymm",
            $r,
            "\n",
        )
    };
}

/// A kernel: the products of a vector, what happens after half a block and after the whole,
/// and what undoes the weights' offset.
macro_rules! kernel {
    ($name:ident, $products:ident, $half:ident, $whole:ident, $undo:ident, $doc:literal) => {
        #[doc = $doc]
        ///
        /// # Safety
        /// The machine has the instructions. `blocks` blocks of weights and heads can be read.
        pub(super) unsafe fn $name(part: &Half<'_>) -> Sums {
            let mut sums = [[0.0; HALF]; ROWS];
            let sums_at = sums.as_mut_ptr() as usize;
            // In memory, since registers are few. Blocks are counted down.
            let mut rest = [part.stride, part.tile, part.blocks, sums_at];
            // SAFETY: `x` moves by 32 bytes and `scale` and `offset` by one number a block,
            // over `ROWS` rows of as many blocks; `w` and `head` are the caller's.
            unsafe {
                asm!(
                    "vpcmpeqd ymm15, ymm15, ymm15",
                    "vpabsw ymm15, ymm15",
                    "vpcmpeqd ymm14, ymm14, ymm14",
                    "vpabsb ymm14, ymm14",
                    "vpsllw ymm14, ymm14, 7",
                    "vxorps ymm8, ymm8, ymm8", "vxorps ymm9, ymm9, ymm9",
                    "vxorps ymm10, ymm10, ymm10", "vxorps ymm11, ymm11, ymm11",
                    "lea {x3}, [{row} + 2*{row}]", "add {x3}, {x}",
                    "lea {scale3}, [{number} + 2*{number}]",
                    "lea {offset3}, [{scale3} + {offset}]",
                    "add {scale3}, {scale}",
                    "2:",
                    rows!(clear),
                    columns!($products, "0"), columns!($products, "1"),
                    columns!($products, "2"), columns!($products, "3"),
                    rows!($half),
                    columns!($products, "4"), columns!($products, "5"),
                    columns!($products, "6"), columns!($products, "7"),
                    rows!($whole),
                    rows!($undo),
                    "vcvtph2ps ymm12, xmmword ptr [{head}]",
                    rows!(scale),
                    "add {w}, [{rest}]",
                    "add {head}, [{rest} + 8]",
                    "add {x}, 32", "add {x3}, 32",
                    "add {scale}, 4", "add {scale3}, 4",
                    "add {offset}, 4", "add {offset3}, 4",
                    "sub qword ptr [{rest} + 16], 1",
                    "jnz 2b",
                    "mov {w}, [{rest} + 24]",
                    "vmovups [{w}], ymm8", "vmovups [{w} + 32], ymm9",
                    "vmovups [{w} + 64], ymm10", "vmovups [{w} + 96], ymm11",
                    rest = in(reg) rest.as_mut_ptr(),
                    w = inout(reg) part.weights => _,
                    head = inout(reg) part.heads => _,
                    x = inout(reg) part.quants.as_ptr() => _,
                    x3 = out(reg) _,
                    row = in(reg) part.blocks * BLOCK,
                    scale = inout(reg) part.scales.as_ptr() => _,
                    scale3 = out(reg) _,
                    offset = inout(reg) part.offsets.as_ptr() => _,
                    offset3 = out(reg) _,
                    number = in(reg) part.blocks * size_of::<f32>(),
                    out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                    out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                    out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                    out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                    options(nostack),
                );
            }
            sums
        }
    };
}

kernel!(q8, bytes, nothing, nothing, nothing, "Bytes with offset 128.");
kernel!(q5, levels, widen, close, undo_16, "5 bits with offset 16.");
kernel!(q5_levels, levels, widen, close, nothing, "Levels of 5 bits.");
kernel!(vnni_q4, vnni, nothing, nothing, undo_8, "4 bits with offset 8, with AVX-VNNI.");
kernel!(vnni_q5, vnni, nothing, nothing, undo_16, "5 bits with offset 16, with AVX-VNNI.");
kernel!(vnni_levels, vnni, nothing, nothing, nothing, "Levels of 4 or 5 bits, with AVX-VNNI.");
