//! ggml's Q4_K and Q5_K: quantises rows to Q4_K, and turns blocks of both into the kernels'.

use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::BLOCK as PART;
use crate::format::put_five_bits;

/// Weights of a block: eight parts of 32, each with a scale and a minimum of 6 bits.
pub const BLOCK: usize = 256;
/// Bytes of a block: f16 scale of the scales, f16 scale of the minima, 12 bytes of scales
/// and minima, 4 bits a weight (two parts in the low and high halves of 32 bytes).
pub const BYTES: usize = 2 + 2 + SCALES + BLOCK / 2;

/// Bytes of a block of Q5_K: as Q4_K, with the weights' fifth bits after the scales (bit j
/// of 32 bytes belongs to part j).
pub const BYTES_5: usize = BYTES + BLOCK / 8;

const SCALES: usize = 12;
/// Bytes of a part's scale and minimum in f16.
const HEAD: usize = 4;
const PARTS: usize = BLOCK / PART;
/// Greatest scale or minimum in 6 bits.
const MOST: f32 = 63.0;
/// Greatest weight in 4 bits.
const TOP: u8 = 15;
/// Number of inverse scales that are tried: from 14 levels over the weights' range to 16.
const TRIALS: usize = 21;
const LEAST: f32 = -1.0;
const STEP: f32 = 0.1;
/// Partial sums, so that the search runs in vectors.
const LANES: usize = 8;

type Part = [f32; PART];

/// Appends the Q4_K blocks of a row, after ggml's `quantize_row_q4_K_ref`. A weight that is
/// not finite gives its block the scale NaN.
///
/// # Panics
/// If the row is not whole blocks.
pub fn quantise(row: &[f32], out: &mut Vec<u8>) {
    let (blocks, rest) = row.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "a row of {} is not whole blocks of {BLOCK}", row.len());
    for block in blocks {
        let (parts, _) = block.as_chunks::<PART>();
        let found: [(f32, f32); PARTS] = std::array::from_fn(|j| search::<TOP>(&parts[j]));
        let most = |of: fn(&(f32, f32)) -> f32| found.iter().map(of).fold(0.0, f32::max);
        let (most_scale, most_min) = (most(|f| f.0), most(|f| f.1));
        let finite = found.iter().all(|f| f.0.is_finite());
        let scale = f16::from_f32(if finite { most_scale / MOST } else { f32::NAN });
        let min = f16::from_f32(most_min / MOST);
        let six = |value: f32, most: f32| {
            let inverse = if most > 0.0 { MOST / most } else { 0.0 };
            (inverse * value).round_ties_even().min(MOST) as u8
        };
        let mut scales = [0u8; SCALES];
        for (j, (s, m)) in found.into_iter().enumerate() {
            let (s, m) = (six(s, most_scale), six(m, most_min));
            if j < 4 {
                scales[j] = s;
                scales[j + 4] = m;
            } else {
                scales[j + 4] = s & 15 | (m & 15) << 4;
                scales[j - 4] |= s >> 4 << 6;
                scales[j] |= m >> 4 << 6;
            }
        }
        out.extend(scale.to_le_bytes());
        out.extend(min.to_le_bytes());
        out.extend(scales);
        let levels = |j: usize| {
            let (s, m) = scale_min(j, &scales);
            levels::<TOP>(&parts[j], scale.to_f32() * s, -(min.to_f32() * m))
        };
        for j in (0..PARTS).step_by(2) {
            out.extend(levels(j).iter().zip(levels(j + 1)).map(|(low, high)| low | high << 4));
        }
    }
}

/// Appends a block of [`Format::Q4K`](crate::Format::Q4K) for each part of Q4_K blocks:
/// scale and minimum in f16, weight = scale · q + minimum.
pub fn flatten(blocks: &[u8], out: &mut Vec<u8>) {
    for block in blocks.as_chunks::<BYTES>().0 {
        let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
        let (scale, min) = (half(0), half(2));
        let (scales, quants) = block[4..].split_at(SCALES);
        let mut flat = [[0; HEAD + PART / 2]; PARTS];
        for (parts, quants) in flat.as_chunks_mut().0.iter_mut().zip(quants.as_chunks::<PART>().0) {
            let [low, high] = parts;
            let (first, second) = quants.split_at(PART / 2);
            for (i, (first, second)) in first.iter().zip(second).enumerate() {
                low[HEAD + i] = first & 15 | second << 4;
                high[HEAD + i] = first >> 4 | second & 240;
            }
        }
        // All are rounded at once, since each rounding alone is a call.
        let (mut heads, mut halves) = ([0.0; 2 * PARTS], [f16::ZERO; 2 * PARTS]);
        for (part, head) in heads.as_chunks_mut().0.iter_mut().enumerate() {
            let (s, m) = scale_min(part, scales);
            *head = [scale * s, -(min * m)];
        }
        halves.convert_from_f32_slice(&heads);
        for (part, [scale, min]) in flat.iter_mut().zip(halves.as_chunks().0) {
            part[..2].copy_from_slice(&scale.to_le_bytes());
            part[2..HEAD].copy_from_slice(&min.to_le_bytes());
        }
        out.extend_from_slice(flat.as_flattened());
    }
}

/// Appends a block of [`Format::Q5K`](crate::Format::Q5K) for each part of Q5_K blocks.
pub fn flatten_5(blocks: &[u8], out: &mut Vec<u8>) {
    for block in blocks.chunks_exact(BYTES_5) {
        let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
        let (scale, min) = (half(0), half(2));
        let (scales, rest) = block[4..].split_at(SCALES);
        let (fifth, quants) = rest.split_at(PART);
        for part in 0..PARTS {
            let (s, m) = scale_min(part, scales);
            let quants = &quants[part / 2 * PART..][..PART];
            let level = |i: usize| quants[i] >> (4 * (part % 2)) & 15 | (fifth[i] >> part & 1) << 4;
            append::<31>(scale * s, -(min * m), level, out);
        }
    }
}

/// Scale and minimum `j` of the eight that 12 bytes hold, 6 bits each.
#[must_use]
pub fn scale_min(j: usize, s: &[u8]) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (s[j] & 63, s[j + 4] & 63)
    } else {
        ((s[j + 4] & 15) | (s[j - 4] >> 6) << 4, (s[j + 4] >> 4) | (s[j] >> 6) << 4)
    };
    (f32::from(scale), f32::from(min))
}

/// Appends one block of 32, found by the same search.
pub(crate) fn quantise_alone<const TOP: u8>(weights: &Part, out: &mut Vec<u8>) {
    let (scale, min) = search::<TOP>(weights);
    let [scale, min] = [scale, -min].map(|value| f16::from_f32(value).to_f32());
    let levels = levels::<TOP>(weights, scale, min);
    append::<TOP>(scale, min, |i| levels[i], out);
}

/// Appends a block of the kernels' formats: in Q4_1's layout up to level 15, else in
/// Q5_1's.
fn append<const TOP: u8>(scale: f32, min: f32, level: impl Fn(usize) -> u8, out: &mut Vec<u8>) {
    if TOP > 15 {
        out.extend(f16::from_f32(scale).to_le_bytes());
        out.extend(f16::from_f32(min).to_le_bytes());
        put_five_bits(level, out);
    } else {
        append_4(scale, min, std::array::from_fn(|i| level(i) | level(i + PART / 2) << 4), out);
    }
}

/// Appends a block in Q4_1's layout.
fn append_4(scale: f32, min: f32, levels: [u8; PART / 2], out: &mut Vec<u8>) {
    let mut block = [0; HEAD + PART / 2];
    block[..2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
    block[2..HEAD].copy_from_slice(&f16::from_f32(min).to_le_bytes());
    block[HEAD..].copy_from_slice(&levels);
    out.extend_from_slice(&block);
}

/// The levels nearest to the weights for a scale and a minimum.
fn levels<const TOP: u8>(weights: &Part, scale: f32, min: f32) -> [u8; PART] {
    // A part of equal weights has the scale 0.
    let level = |w: f32| if scale == 0.0 { 0.0 } else { (w - min) / scale };
    weights.map(|w| level(w).round_ties_even().clamp(0.0, f32::from(TOP)) as u8)
}

/// Tries a number of scales and returns the scale and the negated minimum with the least
/// squared error, weighted by the weights' magnitudes. The scale is NaN if a weight is not
/// finite.
///
/// This is ggml's `make_qkx2_quants` with one difference: every trial here spreads its
/// levels over the weights' own range, while ggml uses the range of the best trial so far.
fn search<const TOP: u8>(weights: &Part) -> (f32, f32) {
    let top = f32::from(TOP);
    if !weights.iter().fold(true, |sound, w| sound & w.is_finite()) {
        return (f32::NAN, 0.0);
    }
    let (mut min, mut max) = (0.0f32, f32::NEG_INFINITY);
    for &w in weights {
        (min, max) = (min.min(w), max.max(w));
    }
    if max <= min {
        return (0.0, -min);
    }
    let mean = (sum(|i| weights[i] * weights[i]) / PART as f32).sqrt();
    let share = weights.map(|w| mean + w.abs());
    let (total, first) = (sum(|i| share[i]), sum(|i| share[i] * weights[i]));
    let (from, range) = (min, max - min);
    let levels = |inverse: f32| weights.map(|w| round(inverse * (w - from)).clamp(0.0, top));
    let error = |levels: &Part, scale: f32, min: f32| {
        sum(|i| {
            let off = scale * levels[i] + min - weights[i];
            share[i] * (off * off)
        })
    };
    let mut scale = range / top;
    let mut best = error(&levels(top / range), scale, min);
    for trial in 0..TRIALS {
        let levels = levels((LEAST + STEP * trial as f32 + top) / range);
        let (l, l2, lw) = (
            sum(|i| share[i] * levels[i]),
            sum(|i| share[i] * levels[i] * levels[i]),
            sum(|i| share[i] * levels[i] * weights[i]),
        );
        let determinant = total * l2 - l * l;
        if determinant > 0.0 {
            let mut fitted = (total * lw - first * l) / determinant;
            let mut least = (l2 * first - l * lw) / determinant;
            if least > 0.0 {
                (fitted, least) = (lw / l2, 0.0);
            }
            let off = error(&levels, fitted, least);
            if off < best {
                (best, scale, min) = (off, fitted, least);
            }
        }
    }
    (scale, -min)
}

/// Rounds a number of magnitude below 2^22 to the nearest integer, ties to even.
#[inline(always)]
fn round(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    x + ROUND - ROUND
}

/// The sum of a part's 32 terms.
#[inline(always)]
fn sum(term: impl Fn(usize) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    for i in (0..PART).step_by(LANES) {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(i + lane);
        }
    }
    lanes.iter().sum()
}
