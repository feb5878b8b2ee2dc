//! Storage types of tensors: their sizes and conversion to f32. Layouts and formulas are
//! ggml's (`ggml-common.h`, `dequantize_row_*` of `ggml-quants.c`).

use std::borrow::Cow;

use half::f16;
use pulp::{Simd, WithSimd};
use tokenroute_kernels::k_quants::{self, scale_min};
use tokenroute_kernels::{BLOCK, Format};

use super::{GgufError, low_bits};
use crate::decoder::arch;
use crate::weights::floats::{read_bf16, read_f16, read_f32};
use crate::weights::{EMBEDDING, HEAD};

/// The storage type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// The upper half of 32-bit floats.
    BF16,
    /// Blocks of 32 of 4 bits.
    Q4_0,
    /// Blocks of 32 of 4 bits, with a minimum.
    Q4_1,
    /// Blocks of 32 of 5 bits.
    Q5_0,
    /// Blocks of 32 of 5 bits, with a minimum.
    Q5_1,
    /// Blocks of 32 of 8 bits.
    Q8_0,
    /// Blocks of 256 of 4 bits.
    Q4K,
    /// Blocks of 256 of 5 bits.
    Q5K,
    /// Blocks of 256 of 6 bits.
    Q6K,
    /// Blocks of 256 of 2 bits.
    Q2K,
    /// Blocks of 256 of 3 bits.
    Q3K,
    /// Blocks of 32 of 4 bits, which are places in a table.
    Iq4Nl,
    /// As [`Kind::Iq4Nl`], in blocks of 256 with scales of 6 bits.
    Iq4Xs,
    /// Blocks of 32 floats of 4 bits (E2M1) with a power of two.
    Mxfp4,
}

/// ggml's numbers, names, weights and bytes of a block.
const KINDS: [(Kind, u32, &str, usize, usize); 16] = [
    (Kind::F32, 0, "F32", 1, 4),
    (Kind::F16, 1, "F16", 1, 2),
    (Kind::BF16, 30, "BF16", 1, 2),
    (Kind::Q4_0, 2, "Q4_0", 32, 18),
    (Kind::Q4_1, 3, "Q4_1", 32, 20),
    (Kind::Q5_0, 6, "Q5_0", 32, 22),
    (Kind::Q5_1, 7, "Q5_1", 32, 24),
    (Kind::Q8_0, 8, "Q8_0", 32, 34),
    (Kind::Q4K, 12, "Q4_K", 256, 144),
    (Kind::Q5K, 13, "Q5_K", 256, 176),
    (Kind::Q6K, 14, "Q6_K", 256, 210),
    (Kind::Q2K, 10, "Q2_K", 256, low_bits::Q2_K),
    (Kind::Q3K, 11, "Q3_K", 256, low_bits::Q3_K),
    (Kind::Iq4Nl, 20, "IQ4_NL", 32, low_bits::IQ4_NL),
    (Kind::Iq4Xs, 23, "IQ4_XS", 256, low_bits::IQ4_XS),
    (Kind::Mxfp4, 39, "MXFP4", 32, low_bits::MXFP4),
];

/// ggml's numbers and names of other types, so that an error can name them.
const OTHERS: [(u32, &str); 19] = [
    (9, "Q8_1"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (24, "I8"),
    (25, "I16"),
    (26, "I32"),
    (27, "I64"),
    (28, "F64"),
    (29, "IQ1_M"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (40, "NVFP4"),
    (4, "Q4_2"),
    (5, "Q4_3"),
];

/// A ggml type that is not supported, as an error names it.
pub(super) fn unsupported(number: u32) -> String {
    let known = OTHERS.iter().find(|(other, _)| *other == number);
    let name = known.map_or_else(String::new, |(_, name)| format!(" ({name})"));
    format!("of ggml type {number}{name}")
}

impl Kind {
    fn entry(self) -> (Kind, u32, &'static str, usize, usize) {
        KINDS.into_iter().find(|entry| entry.0 == self).unwrap_or(KINDS[0])
    }

    pub(super) fn from_number(number: u32) -> Option<Kind> {
        KINDS.into_iter().find(|entry| entry.1 == number).map(|entry| entry.0)
    }

    pub(super) fn number(self) -> u32 {
        self.entry().1
    }

    /// ggml's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().2
    }

    /// The kind with a name, in any case.
    ///
    /// # Errors
    /// An unknown name.
    pub fn named(name: &str) -> Result<Kind, GgufError> {
        let known = KINDS.into_iter().find(|entry| entry.2.eq_ignore_ascii_case(name));
        known.map(|entry| entry.0).ok_or_else(|| GgufError::value("type", name, Kind::names()))
    }

    /// Names of all kinds.
    pub(super) fn names() -> String {
        KINDS.map(|entry| entry.2).join(", ")
    }

    /// Weights of a block; rows are whole blocks.
    #[must_use]
    pub fn block(self) -> usize {
        self.entry().3
    }

    /// Bytes of a block.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.entry().4
    }

    /// Bytes of a row of `columns`, if that is whole blocks.
    #[must_use]
    pub fn row_bytes(self, columns: usize) -> Option<usize> {
        let whole = columns.is_multiple_of(self.block());
        whole.then(|| (columns / self.block()).checked_mul(self.block_bytes())).flatten()
    }

    /// Stored blocks as blocks of a format of the kernels with equal values; `None` if there
    /// are none. Weights are then quantised anew.
    #[must_use]
    pub fn packed(self, bytes: &[u8], format: Format) -> Option<Cow<'_, [u8]>> {
        let converted = |convert: fn(&[u8], &mut Vec<u8>)| {
            let blocks = bytes.len() / self.block_bytes() * (self.block() / BLOCK);
            let mut converted = Vec::with_capacity(blocks * format.block_bytes());
            convert(bytes, &mut converted);
            Some(converted.into())
        };
        let tabled = |convert: fn(&[u8], &mut Vec<u8>) -> Option<()>| {
            let mut converted = Vec::with_capacity(2 * bytes.len());
            convert(bytes, &mut converted)?;
            Some(converted.into())
        };
        match (self, format) {
            (Kind::Q8_0, Format::Q8_0)
            | (Kind::Q4_0, Format::Q4_0)
            | (Kind::Q4_1, Format::Q4K)
            | (Kind::Q5_0, Format::Q5_0)
            | (Kind::Q5_1, Format::Q5K) => Some(bytes.into()),
            // A matrix with parts in 8 bits is held in 8 bits.
            (Kind::Q5_0, Format::Q8_0) => converted(in_8_bits),
            (Kind::Q5K, Format::Q5K) => converted(k_quants::flatten_5),
            (Kind::Q4K, Format::Q4K) => converted(k_quants::flatten),
            (Kind::Iq4Nl, Format::Q8_0) => tabled(low_bits::iq4_nl_in_8_bits),
            (Kind::Iq4Xs, Format::Q8_0) => tabled(low_bits::iq4_xs_in_8_bits),
            (Kind::Mxfp4, Format::Q8_0) => tabled(low_bits::mxfp4_in_8_bits),
            _ => None,
        }
    }

    /// The kernels' format that such blocks are held in; `None` for floats.
    #[must_use]
    pub fn held_in(self) -> Option<Format> {
        match self {
            Kind::F32 | Kind::F16 | Kind::BF16 => None,
            Kind::Q4_0 => Some(Format::Q4_0),
            Kind::Q4_1 | Kind::Q4K => Some(Format::Q4K),
            Kind::Q5_0 => Some(Format::Q5_0),
            Kind::Q5_1 | Kind::Q5K => Some(Format::Q5K),
            Kind::Q8_0 | Kind::Q6K | Kind::Q2K | Kind::Q3K => Some(Format::Q8_0),
            Kind::Iq4Nl | Kind::Iq4Xs | Kind::Mxfp4 => Some(Format::Q8_0),
        }
    }

    /// Whether these are blocks whose scales and minima are all finite, and so their
    /// weights. Floats are not looked at.
    pub(super) fn has_finite_scales(self, bytes: &[u8]) -> bool {
        let halves: &[usize] = match self {
            // A power of two of MXFP4 may be too great for its values.
            Kind::F32 | Kind::F16 | Kind::BF16 | Kind::Mxfp4 => return false,
            Kind::Q4_0 | Kind::Q5_0 | Kind::Q8_0 | Kind::Iq4Nl | Kind::Iq4Xs => &[0],
            Kind::Q2K => &[80, 82],
            Kind::Q3K => &[108],
            Kind::Q4_1 | Kind::Q5_1 | Kind::Q4K | Kind::Q5K => &[0, 2],
            Kind::Q6K => &[208],
        };
        let mut blocks = bytes.chunks_exact(self.block_bytes());
        blocks.all(|block| {
            halves.iter().all(|&at| f16::from_le_bytes([block[at], block[at + 1]]).is_finite())
        })
    }

    /// Converts stored blocks to f32, as many as `out` holds.
    pub fn dequantise(self, bytes: &[u8], out: &mut [f32]) {
        let block: fn(&[u8], &mut [f32]) = match self {
            Kind::F32 => return read_f32(bytes, out),
            Kind::F16 => return read_f16(bytes, out),
            Kind::BF16 => return read_bf16(bytes, out),
            Kind::Q4_0 => q4_0,
            Kind::Q4_1 => q4_1,
            Kind::Q5_0 => q5_0,
            Kind::Q5_1 => q5_1,
            Kind::Q8_0 => q8_0,
            Kind::Q4K => q4_k,
            Kind::Q5K => q5_k,
            Kind::Q6K => return arch().dispatch(SixBits { bytes, out }),
            Kind::Q2K => low_bits::q2_k,
            Kind::Q3K => low_bits::q3_k,
            Kind::Iq4Nl => low_bits::iq4_nl,
            Kind::Iq4Xs => low_bits::iq4_xs,
            Kind::Mxfp4 => low_bits::mxfp4,
        };
        let blocks = bytes.chunks_exact(self.block_bytes()).zip(out.chunks_mut(self.block()));
        blocks.for_each(|(bytes, out)| block(bytes, out));
    }

    /// Appends the stored form of a row, for the kinds that can be written: F32, F16, Q8_0,
    /// Q4_0, Q4_1, Q4_K.
    pub(super) fn encode(self, values: &[f32], out: &mut Vec<u8>) {
        match self {
            Kind::Q8_0 => Format::Q8_0.quantise(values, out),
            Kind::Q4_0 => Format::Q4_0.quantise(values, out),
            Kind::Q4_1 => Format::Q4K.quantise(values, out),
            Kind::Q4K => k_quants::quantise(values, out),
            Kind::F16 => out.extend(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes())),
            _ => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        }
    }
}

impl From<Format> for Kind {
    fn from(format: Format) -> Self {
        match format {
            Format::Q8_0 => Kind::Q8_0,
            Format::Q4_0 => Kind::Q4_0,
            Format::Q4K => Kind::Q4K,
            // They cannot be written, so each load quantises anew.
            Format::Q5_0 | Format::Q5K => Kind::F32,
        }
    }
}

/// The storage type of a tensor in a file of `kind`. Vectors are F32; embedding and LM head
/// have at least 8 bits. Rows that are not whole Q4_K blocks of 256 are Q4_1, which the
/// kernels hold in the same format.
pub(super) fn stored_kind(name: &str, shape: &[usize], kind: Kind) -> Kind {
    let whole = |width: &usize| width.is_multiple_of(Kind::Q4K.block());
    match kind {
        _ if shape.len() < 2 => Kind::F32,
        Kind::Q4_0 | Kind::Q4K if [EMBEDDING, HEAD].contains(&name) => Kind::Q8_0,
        Kind::Q4K if !shape.last().is_some_and(whole) => Kind::Q4_1,
        kind => kind,
    }
}

fn half(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}

fn q8_0(b: &[u8], y: &mut [f32]) {
    let d = half(b);
    for (y, &q) in y.iter_mut().zip(&b[2..]) {
        *y = f32::from(q as i8) * d;
    }
}

fn q4_0(b: &[u8], y: &mut [f32]) {
    let d = half(b);
    for (j, &q) in b[2..].iter().enumerate() {
        y[j] = f32::from((q & 15) as i8 - 8) * d;
        y[j + 16] = f32::from((q >> 4) as i8 - 8) * d;
    }
}

fn q4_1(b: &[u8], y: &mut [f32]) {
    let (d, min) = (half(b), half(&b[2..]));
    for (j, &q) in b[4..].iter().enumerate() {
        y[j] = f32::from(q & 15) * d + min;
        y[j + 16] = f32::from(q >> 4) * d + min;
    }
}

/// The 32 weights that 4 bytes of fifth bits and 16 bytes of the other four hold.
fn five_bits(b: &[u8]) -> impl Iterator<Item = u8> {
    let high = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let low = b[4..].iter().map(|q| q & 15).chain(b[4..].iter().map(|q| q >> 4));
    low.enumerate().map(move |(j, q)| q | ((high >> j & 1) as u8) << 4)
}

/// Blocks of Q5_0 as blocks of Q8_0.
fn in_8_bits(bytes: &[u8], out: &mut Vec<u8>) {
    for block in bytes.chunks_exact(Kind::Q5_0.block_bytes()) {
        out.extend(&block[..2]);
        out.extend(five_bits(&block[2..]).map(|q| q.wrapping_sub(16)));
    }
}

fn q5_0(b: &[u8], y: &mut [f32]) {
    let d = half(b);
    y.iter_mut().zip(five_bits(&b[2..])).for_each(|(y, q)| *y = f32::from(q as i8 - 16) * d);
}

fn q5_1(b: &[u8], y: &mut [f32]) {
    let (d, min) = (half(b), half(&b[2..]));
    y.iter_mut().zip(five_bits(&b[4..])).for_each(|(y, q)| *y = f32::from(q) * d + min);
}

fn q4_k(b: &[u8], y: &mut [f32]) {
    let (d, dmin, scales) = (half(b), half(&b[2..]), &b[4..16]);
    for (j, (q, y)) in b[16..].chunks_exact(32).zip(y.chunks_exact_mut(64)).enumerate() {
        let (s1, m1) = scale_min(2 * j, scales);
        let (s2, m2) = scale_min(2 * j + 1, scales);
        for (l, &q) in q.iter().enumerate() {
            y[l] = d * s1 * f32::from(q & 15) - dmin * m1;
            y[l + 32] = d * s2 * f32::from(q >> 4) - dmin * m2;
        }
    }
}

fn q5_k(b: &[u8], y: &mut [f32]) {
    let (d, dmin, scales, high) = (half(b), half(&b[2..]), &b[4..16], &b[16..48]);
    for (j, (q, y)) in b[48..].chunks_exact(32).zip(y.chunks_exact_mut(64)).enumerate() {
        let (s1, m1) = scale_min(2 * j, scales);
        let (s2, m2) = scale_min(2 * j + 1, scales);
        for (l, (&q, &h)) in q.iter().zip(high).enumerate() {
            let (h1, h2) = (h >> (2 * j) & 1, h >> (2 * j + 1) & 1);
            y[l] = d * s1 * f32::from((q & 15) | h1 << 4) - dmin * m1;
            y[l + 32] = d * s2 * f32::from((q >> 4) | h2 << 4) - dmin * m2;
        }
    }
}

/// Blocks of Q6_K, converted in the vectors of this machine. Nothing is fused, so the bits are those
/// of other machines.
struct SixBits<'a> {
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl WithSimd for SixBits<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (blocks, out) = (self.bytes.as_chunks().0, self.out.as_chunks_mut().0);
        blocks.iter().zip(out).for_each(|(block, out)| q6_k(block, out));
    }
}

#[inline(always)]
fn q6_k(b: &[u8; 210], y: &mut [f32; 256]) {
    let d = half(&b[208..]);
    let low = b[..128].as_chunks::<64>().0.iter();
    let high = b[128..192].as_chunks::<32>().0.iter();
    let scales = b[192..208].as_chunks::<8>().0.iter();
    for (y, (low, (high, scales))) in
        y.as_chunks_mut::<128>().0.iter_mut().zip(low.zip(high.zip(scales)))
    {
        let scales = scales.map(|scale| d * f32::from(scale as i8));
        let [first, second, third, fourth] = y.as_chunks_mut().0 else { return };
        *first = six_bits::<0>(low, high, &scales);
        *second = six_bits::<1>(low, high, &scales);
        *third = six_bits::<2>(low, high, &scales);
        *fourth = six_bits::<3>(low, high, &scales);
    }
}

/// Part `I` of four: each run of 16 weights has a scale. The shifts are constants, and the weights
/// have no other place than the result, so that all steps run in vectors.
#[inline(always)]
fn six_bits<const I: usize>(low: &[u8; 64], high: &[u8; 32], scales: &[f32; 8]) -> [f32; 32] {
    let low = &low[32 * (I % 2)..][..32];
    let mut integers = [0; 32];
    for (q, (low, high)) in integers.iter_mut().zip(low.iter().zip(high)) {
        let low = low >> (4 * (I / 2)) & 15;
        *q = (low | (high >> (2 * I) & 3) << 4) as i8 - 32;
    }
    let mut weights = [0.0; 32];
    for (run, (weights, integers)) in
        weights.as_chunks_mut::<16>().0.iter_mut().zip(integers.as_chunks::<16>().0).enumerate()
    {
        for (weight, q) in weights.iter_mut().zip(integers) {
            *weight = scales[2 * I + run] * f32::from(*q);
        }
    }
    weights
}
