//! Types of 2 to 4 bits: Q2_K and Q3_K, and the types whose four bits are places in a table,
//! IQ4_NL, IQ4_XS and MXFP4.
//!
//! The tables hold whole numbers of 8 bits. So blocks of the last three are also blocks of
//! Q8_0: IQ4_NL exactly, MXFP4 exactly where its power of two is an f16, IQ4_XS with its
//! scales rounded to f16.

use half::f16;

/// `kvalues_iq4nl` of ggml.
const IQ4: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// `kvalues_mxfp4` of ggml: the values of E2M1, doubled.
const E2M1: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

/// Bytes of a block of each type.
pub(super) const Q2_K: usize = 84;
pub(super) const Q3_K: usize = 110;
pub(super) const IQ4_NL: usize = 18;
pub(super) const IQ4_XS: usize = 136;
pub(super) const MXFP4: usize = 17;

fn half(b: &[u8]) -> f32 {
    f16::from_le_bytes([b[0], b[1]]).to_f32()
}

/// 16 scales and minima of 4 bits, 64 bytes of 2 bits, then the scales of both.
pub(super) fn q2_k(b: &[u8], y: &mut [f32]) {
    let (scales, quants) = (&b[..16], &b[16..80]);
    let (d, min) = (half(&b[80..]), half(&b[82..]));
    for (run, (y, scale)) in y.chunks_exact_mut(16).zip(scales).enumerate() {
        let (scale, min) = (d * f32::from(scale & 15), min * f32::from(scale >> 4));
        for (y, q) in y.iter_mut().zip(two_bits(quants, run)) {
            *y = scale * f32::from(q) - min;
        }
    }
}

/// 32 bytes of third bits, 64 bytes of 2 bits, 16 scales of 6 bits, then their scale.
pub(super) fn q3_k(b: &[u8], y: &mut [f32]) {
    let (high, quants, scales, d) = (&b[..32], &b[32..96], &b[96..108], half(&b[108..]));
    for (run, y) in y.chunks_exact_mut(16).enumerate() {
        let low = if run < 8 { scales[run] & 15 } else { scales[run - 8] >> 4 };
        let scale = low | (scales[8 + run % 4] >> (2 * (run / 4)) & 3) << 4;
        let scale = d * f32::from(scale as i8 - 32);
        let high = high[run % 2 * 16..].iter().map(|h| h >> (run / 2) & 1);
        for (y, (q, high)) in y.iter_mut().zip(two_bits(quants, run).zip(high)) {
            *y = scale * f32::from(q as i8 - if high == 1 { 0 } else { 4 });
        }
    }
}

/// The 16 values of 2 bits that share scale `run`.
fn two_bits(quants: &[u8], run: usize) -> impl Iterator<Item = u8> {
    let (part, within) = (run / 8, run % 8);
    let bytes = &quants[32 * part + 16 * (within % 2)..][..16];
    bytes.iter().map(move |q| q >> (2 * (within / 2)) & 3)
}

pub(super) fn iq4_nl(b: &[u8], y: &mut [f32]) {
    let d = half(b);
    y.iter_mut().zip(looked_up(&IQ4, &b[2..])).for_each(|(y, q)| *y = d * f32::from(q));
}

pub(super) fn iq4_xs(b: &[u8], y: &mut [f32]) {
    for (part, y) in y.chunks_exact_mut(32).enumerate() {
        let scale = xs_scale(b, part);
        let quants = &b[8 + 16 * part..][..16];
        y.iter_mut().zip(looked_up(&IQ4, quants)).for_each(|(y, q)| *y = scale * f32::from(q));
    }
}

pub(super) fn mxfp4(b: &[u8], y: &mut [f32]) {
    let scale = half_e8m0(b[0]);
    y.iter_mut().zip(looked_up(&E2M1, &b[1..])).for_each(|(y, q)| *y = scale * f32::from(q));
}

/// Scale of the 32 weights `part` of a block of IQ4_XS.
fn xs_scale(b: &[u8], part: usize) -> f32 {
    let high = u16::from_le_bytes([b[2], b[3]]) >> (2 * part) & 3;
    let low = b[4 + part / 2] >> (4 * (part % 2)) & 15;
    half(b) * f32::from((low | (high as u8) << 4) as i8 - 32)
}

/// Half of 2^(e − 127), as ggml's `GGML_E8M0_TO_FP32_HALF`: the table is doubled.
fn half_e8m0(e: u8) -> f32 {
    let bits = if e < 2 { 0x0020_0000 << e } else { u32::from(e - 1) << 23 };
    f32::from_bits(bits)
}

/// The 32 values that 16 bytes stand for: low halves, then high halves.
fn looked_up<'a>(table: &'a [i8; 16], bytes: &'a [u8]) -> impl Iterator<Item = i8> + 'a {
    let low = bytes[..16].iter().map(|q| q & 15);
    low.chain(bytes[..16].iter().map(|q| q >> 4)).map(|q| table[usize::from(q)])
}

/// Appends blocks of Q8_0. `None` if a scale is no f16.
pub(super) fn iq4_nl_in_8_bits(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for b in bytes.chunks_exact(IQ4_NL) {
        append(f16::from_le_bytes([b[0], b[1]]), &IQ4, &b[2..], out);
    }
    Some(())
}

/// As [`iq4_nl_in_8_bits`].
pub(super) fn iq4_xs_in_8_bits(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for b in bytes.chunks_exact(IQ4_XS) {
        for part in 0..8 {
            let scale = f16::from_f32(xs_scale(b, part));
            append(Some(scale).filter(|s| s.is_finite())?, &IQ4, &b[8 + 16 * part..], out);
        }
    }
    Some(())
}

/// As [`iq4_nl_in_8_bits`].
pub(super) fn mxfp4_in_8_bits(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    for b in bytes.chunks_exact(MXFP4) {
        let exact = half_e8m0(b[0]);
        let scale = f16::from_f32(exact);
        append(Some(scale).filter(|s| s.to_f32() == exact)?, &E2M1, &b[1..], out);
    }
    Some(())
}

fn append(scale: f16, table: &[i8; 16], bytes: &[u8], out: &mut Vec<u8>) {
    out.extend(scale.to_le_bytes());
    out.extend(looked_up(table, bytes).map(|q| q as u8));
}
