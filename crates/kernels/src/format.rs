//! ggml's block formats: sizes, quantisation of a block and back.

use std::fmt;
use std::str::FromStr;

use half::f16;

use crate::{KernelError, k_quants};

/// Weights of a block. They share a scale.
pub const BLOCK: usize = 32;

/// How weights are stored. Byte layouts are ggml's (`ggml-common.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// f16 scale, 32 × i8: 8.5 bits a weight.
    Q8_0,
    /// f16 scale, 32 × 4 bits with offset 8 (element j in the low, j + 16 in the
    /// high half of byte j): 4.5 bits a weight.
    Q4_0,
    /// f16 scale, f16 minimum, 32 × 4 bits in Q4_0's order, weight = scale · q +
    /// minimum: 5 bits a weight. These are ggml's Q4_1 blocks; Q4_K's blocks of 256
    /// become eight of them ([`k_quants::flatten`]).
    Q4K,
    /// f16 scale, 32 fifth bits (bit j belongs to element j), 32 × 4 bits in Q4_0's order,
    /// offset 16: 5.5 bits a weight. Only GGUF files have it.
    Q5_0,
    /// f16 scale, f16 minimum, then fifth bits and 4 bits as in Q5_0, weight = scale · q +
    /// minimum: 6 bits a weight. These are ggml's Q5_1 blocks; Q5_K's blocks of 256
    /// become eight of them ([`k_quants::flatten_5`]). Only GGUF files have it.
    Q5K,
}

/// Names of the formats that weights can be quantised to, as users write them.
const NAMES: [(Format, &str); 3] =
    [(Format::Q8_0, "q8_0"), (Format::Q4_0, "q4_0"), (Format::Q4K, "q4_k")];

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = NAMES.iter().find(|(format, _)| format == self);
        let stored = if *self == Format::Q5_0 { "q5_0" } else { "q5_k" };
        f.write_str(known.map_or(stored, |(_, name)| name))
    }
}

impl FromStr for Format {
    type Err = KernelError;

    fn from_str(name: &str) -> Result<Self, KernelError> {
        let known = NAMES.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
        known.map(|(format, _)| *format).ok_or_else(|| KernelError::Format {
            wanted: name.to_owned(),
            available: NAMES.map(|(_, name)| name).join(", "),
        })
    }
}

impl Format {
    /// Bytes of a ggml block.
    #[must_use]
    pub const fn block_bytes(self) -> usize {
        self.head_bytes() + self.quant_bytes()
    }

    /// Bytes of a block's scale and, where there is one, minimum.
    pub(crate) const fn head_bytes(self) -> usize {
        if self.has_minimum() { 4 } else { 2 }
    }

    /// Whether blocks have a minimum.
    pub(crate) const fn has_minimum(self) -> bool {
        matches!(self, Format::Q4K | Format::Q5K)
    }

    /// Whether a byte holds four bits of two weights.
    pub(crate) const fn is_nibbles(self) -> bool {
        !matches!(self, Format::Q8_0)
    }

    /// Bytes of a block's fifth bits.
    pub(crate) const fn fifth_bytes(self) -> usize {
        if matches!(self, Format::Q5_0 | Format::Q5K) { BLOCK / 8 } else { 0 }
    }

    /// Bytes of a block's weights, without scale and minimum.
    pub(crate) const fn quant_bytes(self) -> usize {
        self.fifth_bytes() + if self.is_nibbles() { BLOCK / 2 } else { BLOCK }
    }

    /// Appends the blocks of a row, as ggml's reference quantisation makes them.
    /// A last partial block is padded with zeros. [`Format::Q4K`] makes Q4_K blocks of
    /// rows that are whole blocks of 256. Other rows are searched block of 32 by block.
    pub fn quantise(self, row: &[f32], out: &mut Vec<u8>) {
        if self == Format::Q4K && row.len().is_multiple_of(k_quants::BLOCK) {
            let mut blocks = Vec::with_capacity(row.len() / k_quants::BLOCK * k_quants::BYTES);
            k_quants::quantise(row, &mut blocks);
            return k_quants::flatten(&blocks, out);
        }
        #[cfg(target_arch = "x86_64")]
        if self == Format::Q8_0 && is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2.
            #[allow(unsafe_code)]
            return unsafe { q8_0_with_avx2(row, out) };
        }
        for chunk in row.chunks(BLOCK) {
            let mut block = [0.0; BLOCK];
            block[..chunk.len()].copy_from_slice(chunk);
            match self {
                Format::Q8_0 => q8_0(&block, out),
                Format::Q4_0 => q4_0(&block, out),
                Format::Q4K => k_quants::quantise_alone::<15>(&block, out),
                Format::Q5_0 => q5_0(&block, out),
                Format::Q5K => k_quants::quantise_alone::<31>(&block, out),
            }
        }
    }

    /// Writes the weights of ggml blocks into `out`, as many as it holds.
    ///
    /// # Panics
    /// If `blocks` holds fewer than `out` needs.
    pub fn dequantise(self, blocks: &[u8], out: &mut [f32]) {
        for (block, out) in blocks.chunks_exact(self.block_bytes()).zip(out.chunks_mut(BLOCK)) {
            let (head, quants) = block.split_at(self.head_bytes());
            let half = |at: usize| f16::from_le_bytes([head[at], head[at + 1]]).to_f32();
            let scale = half(0);
            for (j, out) in out.iter_mut().enumerate() {
                *out = scale * self.integer(quants, j) as f32;
                if self.has_minimum() {
                    *out += half(2);
                }
            }
        }
    }

    /// Integer weight `j` of a block's quants.
    fn integer(self, quants: &[u8], j: usize) -> i32 {
        match self {
            Format::Q8_0 => i32::from(quants[j] as i8),
            Format::Q4_0 => nibble(quants, j) - 8,
            Format::Q4K => nibble(quants, j),
            Format::Q5_0 => five_bits(quants, j) - 16,
            Format::Q5K => five_bits(quants, j),
        }
    }
}

/// Element `j` of 16 bytes that hold two elements each.
fn nibble(quants: &[u8], j: usize) -> i32 {
    i32::from(if j < BLOCK / 2 { quants[j] & 15 } else { quants[j - BLOCK / 2] >> 4 })
}

/// Element `j` of 4 bytes of fifth bits and 16 bytes that hold two elements each.
fn five_bits(quants: &[u8], j: usize) -> i32 {
    nibble(&quants[BLOCK / 8..], j) | i32::from(quants[j / 8] >> (j % 8) & 1) << 4
}

/// Appends the fifth bits and the four others of 32 levels.
pub(crate) fn put_five_bits(level: impl Fn(usize) -> u8, out: &mut Vec<u8>) {
    let fifth = (0..BLOCK).fold(0u32, |bits, j| bits | u32::from(level(j) >> 4) << j);
    out.extend(fifth.to_le_bytes());
    out.extend((0..BLOCK / 2).map(|j| level(j) & 15 | level(j + BLOCK / 2) << 4));
}

/// The blocks of a row in Q8_0, in vectors of AVX2. The bits are those of other machines.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn q8_0_with_avx2(row: &[f32], out: &mut Vec<u8>) {
    let (blocks, rest) = row.as_chunks();
    blocks.iter().for_each(|block| q8_0(block, out));
    if !rest.is_empty() {
        let mut block = [0.0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        q8_0(&block, out);
    }
}

/// `quantize_row_q8_0_ref`: scale = max |w| / 127.
#[inline(always)]
fn q8_0(block: &[f32; BLOCK], out: &mut Vec<u8>) {
    // Of numbers without a sign, the greatest has the greatest bits; NaN is above all.
    let most = block.iter().fold(0, |most, w| most.max(w.abs().to_bits()));
    let scale = f32::from_bits(most) / 127.0;
    let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
    out.extend(f16::from_f32(scale).to_le_bytes());
    let mut quants = [0; BLOCK];
    if scale.is_finite() && inverse.is_finite() {
        for (quant, w) in quants.iter_mut().zip(block) {
            let x = from_half(w * inverse);
            // SAFETY: the weight is finite and at most 127 scales, so `x` is below 128. A
            // conversion that allows for other numbers would take several times as long.
            #[allow(unsafe_code)]
            let whole: i32 = unsafe { x.to_int_unchecked() };
            *quant = whole as u8;
        }
    } else {
        // Weights that are not finite, or too small for their scale's inverse.
        for (quant, w) in quants.iter_mut().zip(block) {
            *quant = (from_half(w * inverse) as i32).clamp(i8::MIN.into(), i8::MAX.into()) as u8;
        }
    }
    out.extend_from_slice(&quants);
}

/// A number whose integer part is `x.round()`, which would be a call for each weight. The number
/// before 0.5 is added, so that what is just below a half stays below.
#[inline(always)]
fn from_half(x: f32) -> f32 {
    const HALF: f32 = 0.499_999_97;
    x + HALF.copysign(x)
}

/// The scale at which the weight of greatest magnitude is `level`, and its inverse.
fn scale_of_extreme(block: &[f32; BLOCK], level: f32) -> (f32, f32) {
    let extreme =
        block.iter().fold(0.0f32, |m, &w| if greater(m.abs(), w.abs()) == m.abs() { m } else { w });
    let scale = extreme / level;
    (scale, if scale == 0.0 { 0.0 } else { 1.0 / scale })
}

/// `quantize_row_q5_0_ref`: scale = the weight of greatest magnitude / −16.
fn q5_0(block: &[f32; BLOCK], out: &mut Vec<u8>) {
    let (scale, inverse) = scale_of_extreme(block, -16.0);
    out.extend(f16::from_f32(scale).to_le_bytes());
    put_five_bits(|j| ((block[j] * inverse + 16.5) as i8).min(31) as u8, out);
}

/// `quantize_row_q4_0_ref`: scale = the weight of greatest magnitude / −8.
fn q4_0(block: &[f32; BLOCK], out: &mut Vec<u8>) {
    let (scale, inverse) = scale_of_extreme(block, -8.0);
    out.extend(f16::from_f32(scale).to_le_bytes());
    let nibble = |w: f32| ((w * inverse + 8.5) as i8).min(15) as u8;
    let (low, high) = block.split_at(BLOCK / 2);
    out.extend(low.iter().zip(high).map(|(&l, &h)| nibble(l) | nibble(h) << 4));
}

/// The greater of two numbers. NaN wins, so that it ends in the scale, where it is refused.
fn greater(a: f32, b: f32) -> f32 {
    if a.is_nan() || a >= b { a } else { b }
}
