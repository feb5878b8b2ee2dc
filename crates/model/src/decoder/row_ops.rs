//! Row-stable operations on one row: sums in a fixed order, exponential, softmax, RMS norm
//! and SwiGLU.
//!
//! Sums run in 16 lanes that are folded pairwise at the end, so their order depends on the
//! row's length alone. Everything else works element by element.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::linear::arch;

const LANES: usize = 16;

/// a·b + c, fused where the instruction set has it.
#[inline(always)]
pub(crate) fn fma<S: Simd>(a: f32, b: f32, c: f32) -> f32 {
    // Only the scalar fallback has one lane. There a fused step would be a library call.
    if S::F32_LANES > 1 { a.mul_add(b, c) } else { a * b + c }
}

/// e^x to about one unit in the last place (Cephes' `expf`), clamped to [e^-87.3, e^88.3].
/// NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(x: f32) -> f32 {
    const LOW: f32 = -87.3;
    const HIGH: f32 = 88.3;
    // Adding 1.5·2^23 rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = if x < LOW { LOW } else { x };
    let x = if x > HIGH { HIGH } else { x };
    let shifted = fma::<S>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    // ln 2 in two parts, the first exact in few bits.
    let r = fma::<S>(n, -0.693_359_4, x);
    let r = fma::<S>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    p = fma::<S>(p, r, 1.398_199_9e-3);
    p = fma::<S>(p, r, 8.333_452e-3);
    p = fma::<S>(p, r, 4.166_579_6e-2);
    p = fma::<S>(p, r, 1.666_666_5e-1);
    p = fma::<S>(p, r, 0.5);
    let p = fma::<S>(p, r * r, r) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    p * power
}

/// Folds the lanes of a sum pairwise.
#[inline(always)]
pub(crate) fn fold(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// Σ x
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] += chunk[i];
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    fold(lanes)
}

/// Σ x·y
#[inline(always)]
pub(crate) fn dot<S: Simd>(x: &[f32], y: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] = fma::<S>(x[i], y[i], lanes[i]);
        }
    }
    for (lane, (&x, &y)) in lanes.iter_mut().zip(x_rest.iter().zip(y_rest)) {
        *lane = fma::<S>(x, y, *lane);
    }
    fold(lanes)
}

/// The greatest element, ignoring NaN; −∞ if there is none.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = if x > *lane { x } else { *lane };
    }
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = if lanes[i + half] > lanes[i] { lanes[i + half] } else { lanes[i] };
        }
        half /= 2;
    }
    lanes[0]
}

/// Replaces the elements in `range` by e^(x − their maximum) and all others by 0. The others
/// only fill up vectors. Returns (maximum, Σ e^(x − maximum)).
#[inline(always)]
pub(crate) fn exponentials<S: Simd>(x: &mut [f32], range: Range<usize>) -> (f32, f32) {
    x[..range.start].fill(f32::NEG_INFINITY);
    x[range.end..].fill(f32::NEG_INFINITY);
    let most = max(x);
    for x in x.iter_mut() {
        *x = exp::<S>(*x - most);
    }
    x[..range.start].fill(0.0);
    x[range.end..].fill(0.0);
    (most, sum(x))
}

/// RMS norm of every row: x / √(mean x² + ε) · w, `x` and `out` `[rows, width]`.
pub(crate) fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    arch().dispatch(RmsNorm { x, weight, eps, out });
}

struct RmsNorm<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl WithSimd for RmsNorm<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.weight.len();
        for (x, out) in self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width)) {
            let mean = dot::<S>(x, x) / width as f32;
            let scale = 1.0 / (mean + self.eps).sqrt();
            for ((out, &x), &w) in out.iter_mut().zip(x).zip(self.weight) {
                *out = x * scale * w;
            }
        }
    }
}

/// RMS norm of every head of `x` `[heads, width]`, in place.
pub(crate) fn rms_norm_heads(x: &mut [f32], weight: &[f32], eps: f32) {
    arch().dispatch(RmsNormHeads { x, weight, eps });
}

struct RmsNormHeads<'a> {
    x: &'a mut [f32],
    weight: &'a [f32],
    eps: f32,
}

impl WithSimd for RmsNormHeads<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for head in self.x.chunks_exact_mut(self.weight.len()) {
            let mean = dot::<S>(head, head) / self.weight.len() as f32;
            let scale = 1.0 / (mean + self.eps).sqrt();
            for (x, &w) in head.iter_mut().zip(self.weight) {
                *x = *x * scale * w;
            }
        }
    }
}

/// SwiGLU: `gate_up` `[rows, 2·width]` → `out` `[rows, width]`, silu(gate) · up.
pub(crate) fn swiglu(gate_up: &[f32], width: usize, out: &mut [f32]) {
    arch().dispatch(SwiGlu { gate_up, width, out });
}

struct SwiGlu<'a> {
    gate_up: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl WithSimd for SwiGlu<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let rows = self.gate_up.chunks_exact(2 * self.width);
        for (row, out) in rows.zip(self.out.chunks_exact_mut(self.width)) {
            let (gate, up) = row.split_at(self.width);
            for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
                *out = g / (1.0 + exp::<S>(-g)) * u;
            }
        }
    }
}

/// As [`swiglu`] with GELU in its tanh form for SiLU: x · ½(1 + tanh(√(2/π)(x + 0.044715 x³))).
/// Since ½(1 + tanh u) = 1 / (1 + e^(−2u)), one exponential is enough.
pub(crate) fn geglu(gate_up: &[f32], width: usize, out: &mut [f32]) {
    arch().dispatch(GeGlu { gate_up, width, out });
}

struct GeGlu<'a> {
    gate_up: &'a [f32],
    width: usize,
    out: &'a mut [f32],
}

impl WithSimd for GeGlu<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        const TWICE_ROOT: f32 = 1.595_769;
        let rows = self.gate_up.chunks_exact(2 * self.width);
        for (row, out) in rows.zip(self.out.chunks_exact_mut(self.width)) {
            let (gate, up) = row.split_at(self.width);
            for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
                let twice = TWICE_ROOT * (g + 0.044_715 * g * g * g);
                *out = g / (1.0 + exp::<S>(-twice)) * u;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exps<'a>(&'a mut [f32]);
    impl WithSimd for Exps<'_> {
        type Output = ();
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for x in self.0 {
                *x = exp::<S>(*x);
            }
        }
    }

    #[test]
    fn the_exponential_is_within_two_units_and_keeps_nan() {
        let inputs: Vec<f32> = (-8700..8800).map(|i| i as f32 / 100.0).collect();
        let mut outputs = inputs.clone();
        arch().dispatch(Exps(&mut outputs));
        for (x, y) in inputs.iter().zip(&outputs) {
            let exact = f64::from(*x).exp();
            assert!((f64::from(*y) - exact).abs() <= 2.5e-7 * exact, "e^{x} gave {y}");
        }
        let mut odd = [f32::NAN, f32::NEG_INFINITY, f32::INFINITY];
        arch().dispatch(Exps(&mut odd));
        assert!(odd[0].is_nan() && odd[1] < 1e-37 && odd[2].is_finite());
    }
}
