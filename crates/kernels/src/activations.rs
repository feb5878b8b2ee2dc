//! Activations quantised to 8 bits: the rows of a product.
#![allow(unsafe_code)]

use half::f16;

use crate::memory::Parts;
use crate::{BLOCK, Isa, KernelError, Pool};

/// Rows that a thread takes at a time.
const ROWS: usize = 8;
/// Rows from which AVX2 takes its kernels for many rows.
pub(crate) const MANY: usize = 8;
/// Elements below which one thread is faster than several.
const PARALLEL: usize = 1 << 15;
/// Below this magnitude 127 / max |x| comes near the end of f32. Such a block counts as 0.
const LEAST: f32 = 1e-34;
/// From this magnitude on the scale is not a finite f16.
const TOO_GREAT: f32 = 65_520.0 * 127.0;

/// Rows of activations, quantised per block of 32 as ggml's Q8_0 blocks are
/// (`quantize_row_q8_0`). The integers are x · 127 / max |x| rounded to the nearest, ties
/// to even. The scale is max |x| / 127 rounded to f16.
///
/// A block with an element that is not finite, or of 8.3 million and more, has the scale
/// NaN. Every output that reads the block is then NaN.
///
/// Buffers are kept from call to call.
#[derive(Debug, Default, Clone)]
pub struct Activations {
    rows: usize,
    inputs: usize,
    /// `[rows, blocks, 32]`
    pub(crate) quants: Vec<i8>,
    /// `[rows, blocks]`
    pub(crate) scales: Vec<f32>,
    /// `[rows, blocks]`, −128 · Σ of the block's integers.
    pub(crate) offsets: Vec<i32>,
    /// `[rows, blocks]`, scale · Σ of the block's integers. Minima are multiplied by it.
    pub(crate) sums: Vec<f32>,
    /// `[rows, blocks]`, −Σ of the integers 4v and 4v + 1 of a block in the low 16 bits, of
    /// 4v + 2 and 4v + 3 in the high ones. Empty except with plain AVX2 and [`MANY`] rows.
    pub(crate) pairs: Vec<i32>,
    /// A copy in AMX's layout, where AMX multiplies.
    #[cfg(target_arch = "x86_64")]
    pub(crate) tiles: crate::amx_tiles::Tiles,
}

impl Activations {
    /// Quantises `x` `[rows, inputs]`. A last partial block is padded with zeros.
    ///
    /// # Errors
    /// A length that is not whole rows.
    pub fn quantise(&mut self, pool: &Pool, x: &[f32], inputs: usize) -> Result<(), KernelError> {
        if inputs == 0 || !x.len().is_multiple_of(inputs) {
            let expected = x.len().next_multiple_of(inputs.max(1));
            return Err(KernelError::Length { what: "a batch of rows", found: x.len(), expected });
        }
        let (rows, blocks) = (x.len() / inputs, inputs.div_ceil(BLOCK));
        (self.rows, self.inputs) = (rows, inputs);
        self.quants.resize(rows * blocks * BLOCK, 0);
        self.scales.resize(rows * blocks, 0.0);
        self.offsets.resize(rows * blocks, 0);
        self.sums.resize(rows * blocks, 0.0);
        let share = if x.len() < PARALLEL { rows } else { ROWS };
        let quants = Parts::new(&mut self.quants);
        let scales = Parts::new(&mut self.scales);
        let offsets = Parts::new(&mut self.offsets);
        let sums = Parts::new(&mut self.sums);
        pool.run(rows.div_ceil(share.max(1)), &|part| {
            for row in part * share..rows.min((part + 1) * share) {
                // SAFETY: every row belongs to one part, and rows are disjoint.
                let (out, sums) = unsafe {
                    let out = QuantisedRow {
                        quants: quants.slice(row * blocks * BLOCK, blocks * BLOCK),
                        scales: scales.slice(row * blocks, blocks),
                        offsets: offsets.slice(row * blocks, blocks),
                    };
                    (out, sums.slice(row * blocks, blocks))
                };
                quantise_row(pool.isa(), &x[row * inputs..][..inputs], out, sums);
            }
        });
        self.pairs.clear();
        if pool.isa() == Isa::Avx2 && rows >= MANY {
            self.pairs.extend(self.quants.as_chunks::<BLOCK>().0.iter().map(pair_sums));
        }
        #[cfg(target_arch = "x86_64")]
        self.tiles.fill(pool, rows, &self.quants, &self.scales);
        Ok(())
    }

    /// Whether AMX multiplies the rows.
    pub(crate) fn tiled(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            self.tiles.rows > 0
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            false
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Width of a row.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }
}

/// An element of [`Activations::pairs`].
fn pair_sums(block: &[i8; BLOCK]) -> i32 {
    let (mut low, mut high) = (0i16, 0i16);
    for [a, b, c, d] in block.as_chunks().0 {
        low -= i16::from(*a) + i16::from(*b);
        high -= i16::from(*c) + i16::from(*d);
    }
    i32::from(high) << 16 | i32::from(low as u16)
}

/// The place of one row's results.
struct QuantisedRow<'a> {
    quants: &'a mut [i8],
    scales: &'a mut [f32],
    offsets: &'a mut [i32],
}

impl QuantisedRow<'_> {
    fn reborrow(&mut self) -> QuantisedRow<'_> {
        QuantisedRow { quants: self.quants, scales: self.scales, offsets: self.offsets }
    }
}

fn quantise_row(isa: Isa, x: &[f32], mut out: QuantisedRow<'_>, sums: &mut [f32]) {
    let row = out.reborrow();
    match isa {
        // SAFETY (both): a pool only carries an instruction set that its machine runs.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 | Isa::Amx => unsafe { quantise_avx512(x, row) },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => unsafe { quantise_avx2(x, row) },
        _ => quantise_blocks(x, row),
    }
    for (sum, (scale, offset)) in sums.iter_mut().zip(out.scales.iter().zip(&*out.offsets)) {
        *sum = scale * (*offset as f32 / -128.0);
    }
}

/// A scale rounded as ggml stores it.
fn stored(scale: f32) -> f32 {
    f16::from_f32(scale).to_f32()
}

/// [`quantise_block`]'s operations, 16 elements at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn quantise_avx512(x: &[f32], out: QuantisedRow<'_>) {
    use std::arch::x86_64::*;
    let magnitude = _mm512_set1_epi32(0x7fff_ffff);
    let QuantisedRow { quants, scales, offsets } = out;
    let (whole, rest) = x.as_chunks::<BLOCK>();
    let count = whole.len();
    let places = quants.as_chunks_mut::<BLOCK>().0.iter_mut();
    for (x, (quants, (scale, offset))) in
        whole.iter().zip(places.zip(scales.iter_mut().zip(offsets.iter_mut())))
    {
        // SAFETY: a block is 32 floats, and 32 bytes of quants.
        unsafe {
            let (low, high) = (_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x[16..].as_ptr()));
            let most = _mm512_max_epu32(
                _mm512_and_si512(_mm512_castps_si512(low), magnitude),
                _mm512_and_si512(_mm512_castps_si512(high), magnitude),
            );
            let most = f32::from_bits(_mm512_reduce_max_epu32(most));
            if !(LEAST..TOO_GREAT).contains(&most) {
                (*scale, *offset) = odd_block(most, quants);
                continue;
            }
            let inverse = _mm512_set1_ps(127.0 / most);
            // To the nearest integer, ties to even.
            let low = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
            let high = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
            _mm_storeu_si128(quants.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(low));
            _mm_storeu_si128(quants[16..].as_mut_ptr().cast(), _mm512_cvtepi32_epi8(high));
            let sum = _mm512_reduce_add_epi32(_mm512_add_epi32(low, high));
            let stored = _mm_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm_set_ss(most / 127.0));
            (*scale, *offset) = (_mm_cvtss_f32(_mm_cvtph_ps(stored)), -128 * sum);
        }
    }
    if !rest.is_empty() {
        let (quants, scales, offsets) =
            (&mut quants[count * BLOCK..], &mut scales[count..], &mut offsets[count..]);
        quantise_blocks(rest, QuantisedRow { quants, scales, offsets });
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn quantise_avx2(x: &[f32], out: QuantisedRow<'_>) {
    quantise_blocks(x, out);
}

/// Compiled once per instruction set. No result depends on the set.
#[inline(always)]
fn quantise_blocks(x: &[f32], out: QuantisedRow<'_>) {
    let QuantisedRow { quants, scales, offsets } = out;
    let places = quants.as_chunks_mut::<BLOCK>().0.iter_mut();
    let places = places.zip(scales.iter_mut().zip(offsets.iter_mut()));
    for (chunk, (quants, (scale, offset))) in x.chunks(BLOCK).zip(places) {
        let (s, o) = match chunk.try_into() {
            Ok(block) => quantise_block(block, quants),
            Err(_) => {
                let mut block = [0.0; BLOCK];
                block[..chunk.len()].copy_from_slice(chunk);
                quantise_block(&block, quants)
            }
        };
        (*scale, *offset) = (s, o);
    }
}

#[inline(always)]
fn quantise_block(x: &[f32; BLOCK], quants: &mut [i8; BLOCK]) -> (f32, i32) {
    // As integers, magnitudes have the order of the floats; infinity and NaN come last.
    let mut most = 0u32;
    for x in x {
        most = most.max(x.to_bits() & 0x7fff_ffff);
    }
    let most = f32::from_bits(most);
    if !(LEAST..TOO_GREAT).contains(&most) {
        return odd_block(most, quants);
    }
    // Adding 1.5·2^23 rounds to an integer, ties to even, and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let inverse = 127.0 / most;
    let mut sum = 0i32;
    for (q, x) in quants.iter_mut().zip(x) {
        *q = (x * inverse + ROUND).to_bits() as i8;
        sum += i32::from(*q);
    }
    (stored(most / 127.0), -128 * sum)
}

/// A block that counts as zero, or that holds a value that is not finite or too great.
fn odd_block(most: f32, quants: &mut [i8; BLOCK]) -> (f32, i32) {
    quants.fill(0);
    (if most < LEAST { 0.0 } else { f32::NAN }, 0)
}
