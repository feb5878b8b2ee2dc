//! The product of many rows with AVX2: 2 rows by a panel, with and without AVX-VNNI. It is in
//! assembly, because the compiler keeps weights in registers and spills the sums.
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
const ROWS: usize = 2;
/// Rows from which the copy in bytes pays off.
const MANY: usize = 8;
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

/// Reads vector `$v` of both halves' weights, and calls `$row` with the sums of every row and its
/// columns.
macro_rules! columns {
    ($row:ident, $v:literal) => {
        concat!(
            "vmovdqu ymm8, [{w} + 64*", $v, "]\n",
            "vmovdqu ymm9, [{w} + 32 + 64*", $v, "]\n",
            $row!(@weights $v),
            $row!("0", "1", "{x} + 4*", $v),
            $row!("2", "3", "{x} + {row} + 4*", $v),
        )
    };
}

/// Adds levels · columns to a row's sums in 16 bits.
macro_rules! levels {
    (@weights $v:literal) => {
        ""
    };
    ($a:literal, $b:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd ymm12, dword ptr [",
            $at,
            $v,
            "]\n",
            "vpmaddubsw ymm13, ymm8, ymm12\n",
            "vpmaddubsw ymm12, ymm9, ymm12\n",
            "vpaddw ymm",
            $a,
            ", ymm",
            $a,
            ", ymm13\n",
            "vpaddw ymm",
            $b,
            ", ymm",
            $b,
            ", ymm12\n",
        )
    };
}

/// Adds (byte − 128) · columns to a row's sums in 32 bits, as |w|·(±x).
macro_rules! bytes {
    (@weights $v:literal) => {
        concat!(
            "prefetcht0 byte ptr [{w} + 2048 + 64*",
            $v,
            "]\n",
            "vpxor ymm8, ymm8, ymm14\nvpabsb ymm10, ymm8\n",
            "vpxor ymm9, ymm9, ymm14\nvpabsb ymm11, ymm9\n",
        )
    };
    ($a:literal, $b:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd ymm12, dword ptr [",
            $at,
            $v,
            "]\n",
            "vpsignb ymm13, ymm12, ymm8\n",
            "vpsignb ymm12, ymm12, ymm9\n",
            "vpmaddubsw ymm13, ymm10, ymm13\n",
            "vpmaddubsw ymm12, ymm11, ymm12\n",
            "vpmaddwd ymm13, ymm13, ymm15\n",
            "vpmaddwd ymm12, ymm12, ymm15\n",
            "vpaddd ymm",
            $a,
            ", ymm",
            $a,
            ", ymm13\n",
            "vpaddd ymm",
            $b,
            ", ymm",
            $b,
            ", ymm12\n",
        )
    };
}

/// Adds stored weights · columns to a row's sums in 32 bits.
macro_rules! vnni {
    (@weights $v:literal) => {
        ""
    };
    ($a:literal, $b:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd ymm12, dword ptr [",
            $at,
            $v,
            "]\n",
            "{{vex}} vpdpbusd ymm",
            $a,
            ", ymm8, ymm12\n",
            "{{vex}} vpdpbusd ymm",
            $b,
            ", ymm9, ymm12\n",
        )
    };
}

/// Both rows: their sums in integers and in floats, and where their numbers are.
macro_rules! rows {
    ($line:ident) => {
        concat!(
            $line!("0", "1", "4", "5", "{scale}", "{offset}", "{pair}"),
            $line!(
                "2",
                "3",
                "6",
                "7",
                "{scale} + {number}",
                "{offset} + {number}",
                "{pair} + {number}"
            ),
        )
    };
}

/// Begins with 0.
macro_rules! zero {
    ($a:literal, $b:literal, $($_:literal),*) => {
        concat!(
            "vpxor ymm",
            $a,
            ", ymm",
            $a,
            ", ymm",
            $a,
            "\n",
            "vpxor ymm",
            $b,
            ", ymm",
            $b,
            ", ymm",
            $b,
            "\n",
        )
    };
}

/// Begins with −offset · Σx in 16 bits. The whole block's sums of (level − 16) · x stay below
/// 16·127·16 = 32512. On the way they may wrap.
macro_rules! less_in_16_bits {
    ($shift:literal, $a:literal, $b:literal, $at:literal) => {
        concat!(
            "vpbroadcastd ymm",
            $a,
            ", dword ptr [",
            $at,
            "]\n",
            "vpsllw ymm",
            $a,
            ", ymm",
            $a,
            ", ",
            $shift,
            "\n",
            "vmovdqa ymm",
            $b,
            ", ymm",
            $a,
            "\n",
        )
    };
}
macro_rules! less_8 {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $offset:literal, $at:literal) => {
        less_in_16_bits!("3", $a, $b, $at)
    };
}
macro_rules! less_16 {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $offset:literal, $at:literal) => {
        less_in_16_bits!("4", $a, $b, $at)
    };
}

/// Begins with −offset · Σx in 32 bits.
macro_rules! less_in_32_bits {
    ($shift:literal, $a:literal, $b:literal, $at:literal) => {
        concat!(
            "vpbroadcastd ymm",
            $a,
            ", dword ptr [",
            $at,
            "]\n",
            "vpsrad ymm",
            $a,
            ", ymm",
            $a,
            ", ",
            $shift,
            "\n",
            "vmovdqa ymm",
            $b,
            ", ymm",
            $a,
            "\n",
        )
    };
}
macro_rules! less_8_in_32_bits {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $at:literal, $pair:literal) => {
        less_in_32_bits!("4", $a, $b, $at)
    };
}
macro_rules! less_16_in_32_bits {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $at:literal, $pair:literal) => {
        less_in_32_bits!("3", $a, $b, $at)
    };
}

/// The sums of 16 bits in 32 bits.
macro_rules! widen {
    ($a:literal, $b:literal, $($_:literal),*) => {
        concat!(
            "vpmaddwd ymm",
            $a,
            ", ymm",
            $a,
            ", ymm15\n",
            "vpmaddwd ymm",
            $b,
            ", ymm",
            $b,
            ", ymm15\n",
        )
    };
}

/// The same, with 16 · Σx added again.
macro_rules! widen_more_16 {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $at:literal, $pair:literal) => {
        concat!(
            widen!($a, $b, $c),
            "vpbroadcastd ymm12, dword ptr [",
            $at,
            "]\n",
            "vpsrad ymm12, ymm12, 3\n",
            "vpsubd ymm",
            $a,
            ", ymm",
            $a,
            ", ymm12\n",
            "vpsubd ymm",
            $b,
            ", ymm",
            $b,
            ", ymm12\n",
        )
    };
}

macro_rules! nothing {
    ($($_:literal),*) => {
        ""
    };
}

/// Scales a row's integers of this block and adds them to its sums.
macro_rules! scale {
    ($a:literal, $b:literal, $sum:literal, $other:literal, $at:literal, $($_:literal),*) => {
        concat!(
            "vbroadcastss ymm12, dword ptr [",
            $at,
            "]\n",
            "vcvtdq2ps ymm",
            $a,
            ", ymm",
            $a,
            "\n",
            "vcvtdq2ps ymm",
            $b,
            ", ymm",
            $b,
            "\n",
            "vmulps ymm13, ymm8, ymm12\n",
            "vmulps ymm12, ymm9, ymm12\n",
            "vfmadd231ps ymm",
            $sum,
            ", ymm13, ymm",
            $a,
            "\n",
            "vfmadd231ps ymm",
            $other,
            ", ymm12, ymm",
            $b,
            "\n",
        )
    };
}

/// A kernel: what a block's sums begin with, the products of a vector, and what makes 32 bits of
/// the sums.
macro_rules! kernel {
    ($name:ident, $constant:ident, $pairs:literal, $begin:ident, $products:ident, $end:ident,
     $doc:literal) => {
        #[doc = $doc]
        pub(super) const $constant: Kernel = Kernel { multiply: $name, pairs: $pairs };

        /// # Safety
        /// The machine has the instructions. `blocks` blocks of weights and heads can be read.
        unsafe fn $name(part: &Part<'_>) -> Sums {
            let mut sums = [[0.0; PANEL]; ROWS];
            // SAFETY: `x` moves by 32 bytes, and `scale`, `offset` and `pair` by one number a
            // block, over `ROWS` rows of as many blocks; `w` and `head` are the caller's.
            unsafe {
                asm!(
                    "vpcmpeqd ymm15, ymm15, ymm15",
                    "vpabsw ymm15, ymm15",
                    "vpcmpeqd ymm14, ymm14, ymm14",
                    "vpabsb ymm14, ymm14",
                    "vpsllw ymm14, ymm14, 7",
                    "vxorps ymm4, ymm4, ymm4", "vxorps ymm5, ymm5, ymm5",
                    "vxorps ymm6, ymm6, ymm6", "vxorps ymm7, ymm7, ymm7",
                    "2:",
                    rows!($begin),
                    columns!($products, "0"), columns!($products, "1"),
                    columns!($products, "2"), columns!($products, "3"),
                    columns!($products, "4"), columns!($products, "5"),
                    columns!($products, "6"), columns!($products, "7"),
                    rows!($end),
                    "vcvtph2ps ymm8, xmmword ptr [{head}]",
                    "vcvtph2ps ymm9, xmmword ptr [{head} + 16]",
                    rows!(scale),
                    "add {w}, {stride}",
                    "add {head}, {tile}",
                    "add {x}, 32",
                    "add {scale}, 4",
                    "add {offset}, 4",
                    "add {pair}, 4",
                    "sub {left}, 1",
                    "jnz 2b",
                    "vmovups [{out}], ymm4", "vmovups [{out} + 32], ymm5",
                    "vmovups [{out} + 64], ymm6", "vmovups [{out} + 96], ymm7",
                    w = inout(reg) part.weights => _,
                    stride = in(reg) part.stride,
                    head = inout(reg) part.heads => _,
                    tile = in(reg) part.tile,
                    x = inout(reg) part.quants.as_ptr() => _,
                    row = in(reg) part.blocks * BLOCK,
                    scale = inout(reg) part.scales.as_ptr() => _,
                    offset = inout(reg) part.offsets.as_ptr() => _,
                    pair = inout(reg) part.pairs.as_ptr() => _,
                    number = in(reg) part.blocks * size_of::<f32>(),
                    left = inout(reg) part.blocks => _,
                    out = in(reg) sums.as_mut_ptr(),
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

kernel!(q8, Q8, false, zero, bytes, nothing, "Bytes with offset 128.");
kernel!(q4_levels, Q4_LEVELS, false, zero, levels, widen, "Levels of 4 bits.");
kernel!(q4, Q4, true, less_8, levels, widen, "4 bits with offset 8.");
kernel!(q5, Q5, true, less_16, levels, widen, "5 bits with offset 16.");
kernel!(q5_levels, Q5_LEVELS, true, less_16, levels, widen_more_16, "Levels of 5 bits.");
kernel!(
    vnni_q4,
    VNNI_Q4,
    false,
    less_8_in_32_bits,
    vnni,
    nothing,
    "4 bits with offset 8, with AVX-VNNI."
);
kernel!(
    vnni_q5,
    VNNI_Q5,
    false,
    less_16_in_32_bits,
    vnni,
    nothing,
    "5 bits with offset 16, with AVX-VNNI."
);
kernel!(
    vnni_levels,
    VNNI_LEVELS,
    false,
    zero,
    vnni,
    nothing,
    "Levels of 4 or 5 bits, with AVX-VNNI."
);
