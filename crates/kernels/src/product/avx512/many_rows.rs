//! The product of many rows with AVX-512 VNNI: 6 rows by 2 panels of outputs, in 24
//! registers. It is in assembly, because the compiler keeps weights in registers and
//! spills the sums. While it multiplies, it prefetches the two panels that come next.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::cell::RefCell;

use super::super::job::Job;
use super::super::layout::{Layout, Q4, Q4K, Q5, Q5K, Q8};
use super::add_fifth;
use crate::matrix::{PANEL, SCALES, tile_bytes};
use crate::{BLOCK, Format};

/// Rows of a block.
pub(crate) const ROWS: usize = 6;
/// Panels of a block.
pub(crate) const PANELS: usize = 2;
/// Cache lines that a block of rows prefetches for each block of weights. Two panels of
/// Q8_0 have 17, so that two blocks of rows prefetch all.
const LINES: usize = 9;
/// Bytes of two panels up to which the next two are prefetched. The processor's own
/// prefetcher follows longer panels, and starts anew at every short one.
const PREFETCHED: usize = 64 << 10;

thread_local! {
    /// Two panels of another format as Q8_0.
    static UNPACKED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Multiplies all whole blocks of rows by `panel` and the next panel. Returns the number of
/// rows done.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(crate) fn multiply(job: &Job<'_>, panel: usize) -> usize {
    let whole = job.rows / ROWS * ROWS;
    let packed = &job.packed[panel * job.panel_bytes..][..PANELS * job.panel_bytes];
    match job.format {
        Format::Q8_0 => blocks::<Q8>(job, panel, packed, &[], whole),
        Format::Q4_0 => unpacked::<Q4>(job, panel, packed, whole),
        Format::Q4K => unpacked::<Q4K>(job, panel, packed, whole),
        Format::Q5_0 => unpacked::<Q5>(job, panel, packed, whole),
        Format::Q5K => unpacked::<Q5K>(job, panel, packed, whole),
    }
    whole
}

/// [`multiply`] for formats other than Q8_0.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn unpacked<L: Layout>(job: &Job<'_>, panel: usize, packed: &[u8], rows: usize) {
    UNPACKED.with_borrow_mut(|unpacked| {
        unpacked.resize(packed.len() / L::TILE * tile_bytes(Format::Q8_0), 0);
        unpack::<L>(packed, unpacked);
        blocks::<L>(job, panel, unpacked, if L::MINIMA { packed } else { &[] }, rows);
    });
}

/// Rewrites tiles as tiles of Q8_0 with the same integers (q − offset) + 128.
#[target_feature(enable = "avx512f,avx512bw")]
fn unpack<L: Layout>(packed: &[u8], unpacked: &mut [u8]) {
    let tiles = unpacked.chunks_exact_mut(tile_bytes(Format::Q8_0));
    for (from, to) in packed.chunks_exact(L::TILE).zip(tiles) {
        to[..SCALES].copy_from_slice(&from[..SCALES]);
        let masks = from[L::MASKS..].as_ptr().cast::<u64>();
        let (from, to) = (from[L::HEAD..].as_ptr(), to[SCALES..].as_mut_ptr());
        let nibble = _mm512_set1_epi8(15);
        let offset = _mm512_set1_epi8(i8::MIN.wrapping_sub(L::OFFSET));
        for v in 0..4 {
            // SAFETY: a tile holds 4 vectors of nibbles, or 8 of bytes. Masks follow where
            // weights have fifth bits.
            unsafe {
                let w = _mm512_loadu_si512(from.add(64 * v).cast());
                let mut low = _mm512_and_si512(w, nibble);
                let mut high = _mm512_and_si512(_mm512_srli_epi16::<4>(w), nibble);
                if L::FIFTH {
                    low = add_fifth(low, masks.add(v).read_unaligned());
                    high = add_fifth(high, masks.add(4 + v).read_unaligned());
                }
                _mm512_storeu_si512(to.add(64 * v).cast(), _mm512_add_epi8(low, offset));
                _mm512_storeu_si512(to.add(64 * (4 + v)).cast(), _mm512_add_epi8(high, offset));
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn blocks<L: Layout>(job: &Job<'_>, panel: usize, packed: &[u8], minima: &[u8], rows: usize) {
    let bytes = PANELS * job.panel_bytes;
    let next = job.packed[panel * job.panel_bytes..].as_ptr().wrapping_add(bytes);
    for (i, row) in (0..rows).step_by(ROWS).enumerate() {
        let from = i * job.blocks * LINES * 64;
        let far = from >= bytes || bytes > PREFETCHED;
        let ahead = if far { std::ptr::null() } else { next.wrapping_add(from) };
        let mut sums = block(job, packed, row, ahead);
        let panels = minima.chunks_exact(job.panel_bytes);
        for (tiles, sums) in panels.zip(&mut sums) {
            add_minima::<L, ROWS>(job, tiles, row, sums);
        }
        for (p, rows) in sums.iter().enumerate() {
            for (r, sums) in rows.iter().enumerate() {
                job.store(row + r, panel + p, 0, sums);
            }
        }
    }
}

/// Adds the minima of a panel to the sums of rows `row..row + R`.
#[target_feature(enable = "avx512f")]
pub(crate) fn add_minima<L: Layout, const R: usize>(
    job: &Job<'_>,
    tiles: &[u8],
    row: usize,
    sums: &mut [[f32; PANEL]; R],
) {
    let count = job.blocks;
    let x = &job.sums[row * count..][..R * count];
    let mut minima = [_mm512_setzero_ps(); R];
    for (b, tile) in tiles.chunks_exact(L::TILE).enumerate().take(count) {
        // SAFETY: minima are 32 bytes, and `x` has `count` numbers a row.
        unsafe {
            let w = _mm256_loadu_si256(tile[SCALES..2 * SCALES].as_ptr().cast());
            let w = _mm512_cvtph_ps(w);
            for (r, minimum) in minima.iter_mut().enumerate() {
                let x = _mm512_set1_ps(*x.get_unchecked(r * count + b));
                *minimum = _mm512_fmadd_ps(w, x, *minimum);
            }
        }
    }
    for (sums, minimum) in sums.iter_mut().zip(minima) {
        // SAFETY: a row's sums are 16 floats.
        unsafe {
            let sum = _mm512_add_ps(_mm512_loadu_ps(sums.as_ptr()), minimum);
            _mm512_storeu_ps(sums.as_mut_ptr(), sum);
        }
    }
}

/// Adds four columns of both panels to the integers of all rows; `$v` counts vectors.
macro_rules! columns {
    ($v:literal) => {
        concat!(
            "vmovdqu64 zmm24, [{w} + 32 + 64*", $v, "]\n",
            "vmovdqu64 zmm25, [{w} + {panel} + 32 + 64*", $v, "]\n",
            columns!(@ "0", "6", "{x} + 4*", $v),
            columns!(@ "1", "7", "{x} + {row} + 4*", $v),
            columns!(@ "2", "8", "{x} + 2*{row} + 4*", $v),
            columns!(@ "3", "9", "{x3} + 4*", $v),
            columns!(@ "4", "10", "{x3} + {row} + 4*", $v),
            columns!(@ "5", "11", "{x3} + 2*{row} + 4*", $v),
        )
    };
    (@ $first:literal, $second:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd zmm26, dword ptr [", $at, $v, "]\n",
            "vpdpbusd zmm", $first, ", zmm24, zmm26\n",
            "vpdpbusd zmm", $second, ", zmm25, zmm26\n",
        )
    };
}

/// Scales a row's integers of this block and adds them to its sums.
macro_rules! scale {
    ($first:literal, $second:literal, $sum:literal, $other:literal, $at:literal) => {
        concat!(
            "vbroadcastss zmm26, dword ptr [",
            $at,
            "]\n",
            "vcvtdq2ps zmm",
            $first,
            ", zmm",
            $first,
            "\n",
            "vmulps zmm27, zmm24, zmm26\n",
            "vcvtdq2ps zmm",
            $second,
            ", zmm",
            $second,
            "\n",
            "vmulps zmm28, zmm25, zmm26\n",
            "vfmadd231ps zmm",
            $sum,
            ", zmm27, zmm",
            $first,
            "\n",
            "vfmadd231ps zmm",
            $other,
            ", zmm28, zmm",
            $second,
            "\n",
        )
    };
}

/// Starts a row's integers with the value that undoes the weights' offset of 128.
macro_rules! begin {
    ($first:literal, $second:literal, $at:literal) => {
        concat!(
            "vpbroadcastd zmm",
            $first,
            ", dword ptr [",
            $at,
            "]\n",
            "vpbroadcastd zmm",
            $second,
            ", dword ptr [",
            $at,
            "]\n",
        )
    };
}

/// Prefetches the line of the next panels that many lines on.
macro_rules! prefetch {
    ($($line:literal)*) => {
        concat!($("prefetcht1 byte ptr [{next} + 64*", $line, "]\n"),*)
    };
}

/// Multiplies rows `row..row + ROWS` by two panels, `packed` as Q8_0. The result is
/// `[panel, row, output]`. Meanwhile [`LINES`] lines a block are prefetched from `next` on,
/// unless it is null.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn block(
    job: &Job<'_>,
    packed: &[u8],
    row: usize,
    next: *const u8,
) -> [[[f32; PANEL]; ROWS]; PANELS] {
    let (count, first) = (job.blocks, row * job.blocks);
    let x = &job.quants[first * BLOCK..][..ROWS * count * BLOCK];
    let scales = &job.scales[first..][..ROWS * count];
    let offsets = &job.offsets[first..][..ROWS * count];
    assert!(count > 0 && packed.len() == PANELS * count * tile_bytes(Format::Q8_0));
    let mut sums = [[[0.0f32; PANEL]; ROWS]; PANELS];
    // SAFETY: `x` moves by 32 bytes and `scales` and `offsets` by one number a block,
    // `w` by a tile, over slices whose lengths were just checked. Prefetching reads nothing.
    unsafe {
        asm!(
            "vpxord zmm12, zmm12, zmm12", "vpxord zmm13, zmm13, zmm13",
            "vpxord zmm14, zmm14, zmm14", "vpxord zmm15, zmm15, zmm15",
            "vpxord zmm16, zmm16, zmm16", "vpxord zmm17, zmm17, zmm17",
            "vpxord zmm18, zmm18, zmm18", "vpxord zmm19, zmm19, zmm19",
            "vpxord zmm20, zmm20, zmm20", "vpxord zmm21, zmm21, zmm21",
            "vpxord zmm22, zmm22, zmm22", "vpxord zmm23, zmm23, zmm23",
            "2:",
            begin!("0", "6", "{offset}"),
            begin!("1", "7", "{offset} + {number}"),
            begin!("2", "8", "{offset} + 2*{number}"),
            "lea {x3}, [{number} + 2*{number}]",
            "add {offset}, {x3}",
            begin!("3", "9", "{offset}"),
            begin!("4", "10", "{offset} + {number}"),
            begin!("5", "11", "{offset} + 2*{number}"),
            "sub {offset}, {x3}",
            "lea {x3}, [{row} + 2*{row}]",
            "add {x3}, {x}",
            columns!("0"), columns!("1"), columns!("2"), columns!("3"),
            "test {next}, {next}",
            "jz 3f",
            prefetch!("0" "1" "2" "3" "4" "5" "6" "7" "8"),
            "add {next}, 64*9",
            "3:",
            columns!("4"), columns!("5"), columns!("6"), columns!("7"),
            "vcvtph2ps zmm24, ymmword ptr [{w}]",
            "vcvtph2ps zmm25, ymmword ptr [{w} + {panel}]",
            "lea {x3}, [{number} + 2*{number}]",
            scale!("0", "6", "12", "18", "{scale}"),
            scale!("1", "7", "13", "19", "{scale} + {number}"),
            scale!("2", "8", "14", "20", "{scale} + 2*{number}"),
            "add {x3}, {scale}",
            scale!("3", "9", "15", "21", "{x3}"),
            scale!("4", "10", "16", "22", "{x3} + {number}"),
            scale!("5", "11", "17", "23", "{x3} + 2*{number}"),
            "add {w}, 544",
            "add {x}, 32",
            "add {scale}, 4",
            "add {offset}, 4",
            "sub {left}, 1",
            "jnz 2b",
            "vmovups [{out}], zmm12", "vmovups [{out} + 64], zmm13",
            "vmovups [{out} + 128], zmm14", "vmovups [{out} + 192], zmm15",
            "vmovups [{out} + 256], zmm16", "vmovups [{out} + 320], zmm17",
            "vmovups [{out} + 384], zmm18", "vmovups [{out} + 448], zmm19",
            "vmovups [{out} + 512], zmm20", "vmovups [{out} + 576], zmm21",
            "vmovups [{out} + 640], zmm22", "vmovups [{out} + 704], zmm23",
            w = inout(reg) packed.as_ptr() => _,
            x = inout(reg) x.as_ptr() => _,
            scale = inout(reg) scales.as_ptr() => _,
            offset = inout(reg) offsets.as_ptr() => _,
            left = inout(reg) count => _,
            next = inout(reg) next => _,
            x3 = out(reg) _,
            panel = in(reg) count * tile_bytes(Format::Q8_0),
            row = in(reg) count * BLOCK,
            number = in(reg) count * size_of::<f32>(),
            out = in(reg) sums.as_mut_ptr(),
            out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
            out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
            out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
            out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
            out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
            out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
            out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _,
            out("zmm28") _,
            options(nostack),
        );
    }
    sums
}
