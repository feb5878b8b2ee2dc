//! The product with AVX2, with and without AVX-VNNI. A vector is 4 columns of 8 outputs,
//! half a tile's.
//!
//! Without VNNI, `maddubs` adds pairs of products in 16 bits, and saturates. No sum here
//! reaches that limit:
//! - Bytes are multiplied as |w|·(±x) ≤ 128·127, so a pair is at most 32512.
//! - A pair of 4 bits is at most 15·127·2 = 3810; the eight pairs of a block are at most
//!   30480.
//! - A pair of 5 bits is at most 31·127·2 = 7874. Its sums go on in 32 bits at once. With many
//!   rows, the sums of (level − 16)·x of a block are at most 16·127·16 = 32512.
#![allow(unsafe_code)]
// Loops over registers need their indices.
#![allow(clippy::needless_range_loop)]

mod many_rows;

use std::arch::x86_64::*;

use super::layout::Layout;
use crate::matrix::PANEL;

/// Outputs of half a panel.
const HALF: usize = PANEL / 2;

/// A kernel from three steps on accumulators: `begin` with the offset of a block, `step`
/// adds the products of 4 columns, `end` gives 32-bit sums. After them come the kernels for
/// many rows of the formats.
macro_rules! kernel {
    (
        $name:ident, $features:literal, $rows:literal, $steps:ident,
        $q8:expr, $q4:expr, $q4k:expr, $q5:expr, $q5k:expr
    ) => {
        pub(crate) mod $name {
            use std::arch::x86_64::*;
            use std::ops::Range;

            use super::super::job::{Job, row_blocks};
            use super::super::layout::{Layout, Q4, Q4K, Q5, Q5K, Q8};
            use super::many_rows::{self, Kernel};
            use super::$steps::{begin, end, step};
            use super::{HALF, nibbles};
            use crate::matrix::{PANEL, SCALES};
            use crate::{BLOCK, Format};

            #[target_feature(enable = $features)]
            pub(crate) fn multiply(job: &Job<'_>, panels: Range<usize>) {
                match job.format {
                    Format::Q8_0 => by_rows::<Q8>(job, panels, $q8),
                    Format::Q4_0 => by_rows::<Q4>(job, panels, $q4),
                    Format::Q4K => by_rows::<Q4K>(job, panels, $q4k),
                    Format::Q5_0 => by_rows::<Q5>(job, panels, $q5),
                    Format::Q5K => by_rows::<Q5K>(job, panels, $q5k),
                }
            }

            #[target_feature(enable = $features)]
            fn by_rows<L: Layout>(job: &Job<'_>, panels: Range<usize>, kernel: Option<Kernel>) {
                let done = many_rows::multiply::<L>(job, panels.clone(), kernel);
                for panel in panels {
                    for rows in row_blocks(done..job.rows, $rows) {
                        match rows.len() {
                            0 => {}
                            1 => block::<L, 1, 2>(job, panel, rows.start, 0),
                            2 => block::<L, 2, 2>(job, panel, rows.start, 0),
                            3 => halves::<L, 3>(job, panel, rows.start),
                            _ => halves::<L, 4>(job, panel, rows.start),
                        }
                    }
                }
            }

            #[inline]
            #[target_feature(enable = $features)]
            fn halves<L: Layout, const R: usize>(job: &Job<'_>, panel: usize, row: usize) {
                block::<L, R, 1>(job, panel, row, 0);
                block::<L, R, 1>(job, panel, row, 1);
            }

            /// Rows `row..row + R` by `H` halves of a panel from `half` on.
            #[inline]
            #[target_feature(enable = $features)]
            fn block<L: Layout, const R: usize, const H: usize>(
                job: &Job<'_>,
                panel: usize,
                row: usize,
                half: usize,
            ) {
                let blocks = job.blocks;
                let first = row * blocks;
                assert!(row + R <= job.rows && job.quants.len() >= job.rows * blocks * BLOCK);
                assert!(job.scales.len() >= job.rows * blocks);
                assert!(job.sums.len() >= job.rows * blocks);
                assert!(job.offsets.len() >= job.rows * blocks && half + H <= 2);
                let tiles = job.panel(panel).as_ptr();
                let (x, scales) = (job.quants.as_ptr(), job.scales.as_ptr());
                let offsets = job.offsets.as_ptr();
                let mut sums = [[_mm256_setzero_ps(); H]; R];
                let mut minima = [[_mm256_setzero_ps(); H]; R];
                for b in 0..blocks {
                    let mut dots = [[_mm256_setzero_si256(); H]; R];
                    // SAFETY (all pointers): block `b` of a row and tile `b` of a panel
                    // are in bounds by the asserts and by `Job::panel`; prefetching
                    // reads nothing.
                    unsafe {
                        for r in 0..R {
                            let offset = _mm256_set1_epi32(*offsets.add(first + r * blocks + b));
                            dots[r] = [begin::<L>(offset); H];
                        }
                        let columns = |r: usize, group: usize| {
                            let at = x.add((first + r * blocks + b) * BLOCK + 4 * group);
                            _mm256_set1_epi32(at.cast::<i32>().read_unaligned())
                        };
                        for v in 0..L::VECTORS {
                            let at = tiles.add(b * L::TILE + L::HEAD + 4 * PANEL * v);
                            _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(2048).cast());
                            for h in 0..H {
                                if L::NIBBLES {
                                    let tile = tiles.add(b * L::TILE);
                                    let [low, high] = nibbles::<L>(tile, v, half + h);
                                    for r in 0..R {
                                        dots[r][h] = step::<L>(dots[r][h], low, columns(r, v));
                                        dots[r][h] = step::<L>(dots[r][h], high, columns(r, 4 + v));
                                    }
                                } else {
                                    let at = at.add(4 * HALF * (half + h));
                                    let w = _mm256_loadu_si256(at.cast());
                                    for r in 0..R {
                                        dots[r][h] = step::<L>(dots[r][h], w, columns(r, v));
                                    }
                                }
                            }
                        }
                        for h in 0..H {
                            let head = tiles.add(b * L::TILE + 2 * HALF * (half + h));
                            let w = _mm256_cvtph_ps(_mm_loadu_si128(head.cast()));
                            for r in 0..R {
                                let at = first + r * blocks + b;
                                let offset = _mm256_set1_epi32(*offsets.add(at));
                                let dot = _mm256_cvtepi32_ps(end::<L>(dots[r][h], offset));
                                let scale = _mm256_mul_ps(w, _mm256_set1_ps(*scales.add(at)));
                                sums[r][h] = _mm256_fmadd_ps(scale, dot, sums[r][h]);
                            }
                            if L::MINIMA {
                                let w = _mm_loadu_si128(head.add(SCALES).cast());
                                let w = _mm256_cvtph_ps(w);
                                for r in 0..R {
                                    let x = *job.sums.as_ptr().add(first + r * blocks + b);
                                    let x = _mm256_set1_ps(x);
                                    minima[r][h] = _mm256_fmadd_ps(w, x, minima[r][h]);
                                }
                            }
                        }
                    }
                }
                for (r, sums) in sums.iter().enumerate() {
                    for (h, sums) in sums.iter().enumerate() {
                        let mut out = [0.0; HALF];
                        let whole = _mm256_add_ps(*sums, minima[r][h]);
                        let sums = if L::MINIMA { whole } else { *sums };
                        // SAFETY: `out` holds 8 floats.
                        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sums) };
                        job.store(row + r, panel, HALF * (half + h), &out);
                    }
                }
            }
        }
    };
}

/// Adds 16 to the bytes whose bit is set: bit j belongs to byte j.
#[inline]
#[target_feature(enable = "avx2")]
fn add_fifth(w: __m256i, bits: i32) -> __m256i {
    let places =
        _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
    let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
    let bits = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(bits), places), bit);
    let fifth = _mm256_and_si256(_mm256_cmpeq_epi8(bits, bit), _mm256_set1_epi8(16));
    _mm256_or_si256(w, fifth)
}

/// Columns 4v.. and 16 + 4v.. of half a tile of 4 or 5 bits.
///
/// # Safety
/// `tile` points to a tile.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn nibbles<L: Layout>(tile: *const u8, v: usize, half: usize) -> [__m256i; 2] {
    let nibble = _mm256_set1_epi8(15);
    // SAFETY: the vectors and masks of a tile.
    unsafe {
        let at = tile.add(L::HEAD + 4 * PANEL * v + 4 * HALF * half);
        let w = _mm256_loadu_si256(at.cast());
        let mut low = _mm256_and_si256(w, nibble);
        let mut high = _mm256_and_si256(_mm256_srli_epi16::<4>(w), nibble);
        if L::FIFTH {
            let masks = tile.add(L::MASKS).cast::<i32>().add(half);
            low = add_fifth(low, masks.add(2 * v).read_unaligned());
            high = add_fifth(high, masks.add(2 * (4 + v)).read_unaligned());
        }
        [low, high]
    }
}

// `None` where the compiler's code is as fast with many rows.
kernel!(
    vnni,
    "avx2,fma,f16c,avxvnni",
    4,
    with_vnni,
    None,
    Some(many_rows::kernels::VNNI_Q4),
    Some(many_rows::kernels::VNNI_LEVELS),
    Some(many_rows::kernels::VNNI_Q5),
    Some(many_rows::kernels::VNNI_LEVELS)
);
kernel!(
    plain,
    "avx2,fma,f16c",
    4,
    without_vnni,
    Some(many_rows::kernels::Q8),
    Some(many_rows::kernels::Q4),
    Some(many_rows::kernels::Q4_LEVELS),
    Some(many_rows::kernels::Q5),
    Some(many_rows::kernels::Q5_LEVELS)
);

mod with_vnni {
    use std::arch::x86_64::*;

    use super::super::layout::Layout;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn begin<L: Layout>(offset: __m256i) -> __m256i {
        if L::PLAIN {
            return _mm256_setzero_si256();
        }
        _mm256_sra_epi32(offset, _mm_cvtsi32_si128(L::SHIFT))
    }

    #[inline]
    #[target_feature(enable = "avx2,avxvnni")]
    pub(super) fn step<L: Layout>(dot: __m256i, w: __m256i, x: __m256i) -> __m256i {
        _mm256_dpbusd_avx_epi32(dot, w, x)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn end<L: Layout>(dot: __m256i, _offset: __m256i) -> __m256i {
        dot
    }
}

mod without_vnni {
    use std::arch::x86_64::*;

    use super::super::layout::Layout;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn begin<L: Layout>(_offset: __m256i) -> __m256i {
        _mm256_setzero_si256()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn step<L: Layout>(dot: __m256i, w: __m256i, x: __m256i) -> __m256i {
        if L::NIBBLES && !L::FIFTH {
            return _mm256_add_epi16(dot, _mm256_maddubs_epi16(w, x));
        }
        if L::FIFTH {
            let pairs = _mm256_maddubs_epi16(w, x);
            return _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
        }
        let w = _mm256_xor_si256(w, _mm256_set1_epi8(-128));
        let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
        _mm256_add_epi32(dot, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn end<L: Layout>(dot: __m256i, offset: __m256i) -> __m256i {
        if !L::NIBBLES {
            return dot;
        }
        let dot = if L::FIFTH { dot } else { _mm256_madd_epi16(dot, _mm256_set1_epi16(1)) };
        if L::PLAIN {
            return dot;
        }
        _mm256_add_epi32(dot, _mm256_sra_epi32(offset, _mm_cvtsi32_si128(L::SHIFT)))
    }
}
