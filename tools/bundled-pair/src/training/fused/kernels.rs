//! The row-wise arithmetic of the fused engine. Compiled for AVX-512, AVX2 and the baseline, and
//! chosen at run time.
#![expect(unsafe_code, reason = "calls of functions compiled for detected features")]

/// Numbers in a 512-bit register. Score rows are padded to a multiple of this.
pub const LANES: usize = 16;

macro_rules! kernel {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident : $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        pub fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
                fn wide($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn narrow($($arg: $ty),*) $(-> $ret)? { body($($arg),*) }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                {
                    // SAFETY: the features were detected.
                    return unsafe { wide($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the features were detected.
                    return unsafe { narrow($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}

/// e^x to about 2 ulp, clamped to [e^-87, e^88]. Free of branches, so that loops vectorise.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let tail = 1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0));
    let p = 1.0 + r + r * r * (0.5 + r * (1.0 / 6.0 + r * tail));
    let bits = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23;
    p * f32::from_bits(bits)
}

#[inline(always)]
fn swiglu_gradient(gate: f32, up: f32, d_out: f32) -> (f32, f32) {
    let sigmoid = 1.0 / (1.0 + exp(-gate));
    let silu = gate * sigmoid;
    (d_out * up * (sigmoid + silu * (1.0 - sigmoid)), d_out * silu)
}

#[inline(always)]
fn fold(mut lanes: [f32; LANES], op: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = op(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn sum3(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a, a_tail) = a.as_chunks::<LANES>();
    let (b, b_tail) = b.as_chunks::<LANES>();
    let (c, c_tail) = c.as_chunks::<LANES>();
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i] * c[i];
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).zip(c_tail).map(|((a, b), c)| a * b * c).sum();
    fold(lanes, |x, y| x + y) + tail
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a, a_tail) = a.as_chunks::<LANES>();
    let (b, b_tail) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    let tail: f32 = a_tail.iter().zip(b_tail).map(|(a, b)| a * b).sum();
    fold(lanes, |x, y| x + y) + tail
}

kernel! {
    /// RMS norm of rows as wide as `weight`. Each row's reciprocal root is stored in `scale`.
    pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, scale: &mut [f32], out: &mut [f32]) {
        let width = weight.len();
        for ((x, out), scale) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)).zip(scale) {
            *scale = 1.0 / (dot(x, x) / width as f32 + epsilon).sqrt();
            for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
                *out = x * *scale * weight;
            }
        }
    }
}

kernel! {
    /// Given the gradient `d_out` of `rms_norm`'s output, adds the gradients to `d_x` and
    /// `d_weight`.
    pub fn rms_norm_backward(
        d_out: &[f32],
        x: &[f32],
        weight: &[f32],
        scale: &[f32],
        d_x: &mut [f32],
        d_weight: &mut [f32],
    ) {
        let width = weight.len();
        let rows = d_out.chunks_exact(width).zip(x.chunks_exact(width));
        for (((d_out, x), d_x), &scale) in rows.zip(d_x.chunks_exact_mut(width)).zip(scale) {
            let pull = sum3(d_out, weight, x) * scale * scale * scale / width as f32;
            let columns = d_out.iter().zip(x).zip(weight).zip(d_x).zip(d_weight.iter_mut());
            for ((((d_out, x), weight), d_x), d_weight) in columns {
                *d_x += d_out * weight * scale - x * pull;
                *d_weight += d_out * x * scale;
            }
        }
    }
}

kernel! {
    /// `out = silu(gate) * up`, with gate and up side by side in rows of `2 * inner`.
    pub fn swiglu(gate_up: &[f32], inner: usize, out: &mut [f32]) {
        for (row, out) in gate_up.chunks_exact(2 * inner).zip(out.chunks_exact_mut(inner)) {
            let (gate, up) = row.split_at(inner);
            for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
                *out = gate / (1.0 + exp(-gate)) * up;
            }
        }
    }
}

kernel! {
    /// Replaces gate and up by their gradients, given the gradient of `swiglu`'s output.
    pub fn swiglu_backward(gate_up: &mut [f32], inner: usize, d_out: &[f32]) {
        for (row, d_out) in gate_up.chunks_exact_mut(2 * inner).zip(d_out.chunks_exact(inner)) {
            let (gate, up) = row.split_at_mut(inner);
            let (gates, gate_tail) = gate.as_chunks_mut::<LANES>();
            let (ups, up_tail) = up.as_chunks_mut::<LANES>();
            let (d_outs, d_tail) = d_out.as_chunks::<LANES>();
            for ((gate, up), d_out) in gates.iter_mut().zip(ups).zip(d_outs) {
                let (mut d_gate, mut d_up) = ([0.0; LANES], [0.0; LANES]);
                for i in 0..LANES {
                    (d_gate[i], d_up[i]) = swiglu_gradient(gate[i], up[i], d_out[i]);
                }
                (*gate, *up) = (d_gate, d_up);
            }
            for ((gate, up), &d_out) in gate_tail.iter_mut().zip(up_tail).zip(d_tail) {
                (*gate, *up) = swiglu_gradient(*gate, *up, d_out);
            }
        }
    }
}

kernel! {
    /// Adds the bias to each row.
    pub fn add_bias(rows: &mut [f32], bias: &[f32]) {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (x, bias) in row.iter_mut().zip(bias) {
                *x += bias;
            }
        }
    }
}

kernel! {
    /// Adds the sum of the rows to `d_bias`.
    pub fn add_bias_backward(rows: &[f32], d_bias: &mut [f32]) {
        for row in rows.chunks_exact(d_bias.len()) {
            for (d_bias, x) in d_bias.iter_mut().zip(row) {
                *d_bias += x;
            }
        }
    }
}

kernel! {
    /// Rotates the first `heads` heads of each row by the row's angles. Rows are one sequence,
    /// `stride` apart. `sign` = -1 rotates back.
    pub fn rotate(rows: &mut [f32], stride: usize, heads: usize, cos: &[f32], sin: &[f32], half: usize, sign: f32) {
        let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
        for (row, (cos, sin)) in rows.chunks_exact_mut(stride).zip(angles) {
            for head in row[..heads * 2 * half].chunks_exact_mut(2 * half) {
                let (first, second) = head.split_at_mut(half);
                for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                    let (x, y, sin) = (*a, *b, sign * sin);
                    *a = x * cos - y * sin;
                    *b = y * cos + x * sin;
                }
            }
        }
    }
}

kernel! {
    /// Softmax of `scale * scores` over the visible prefix of each row, 0 elsewhere. Row r sees r
    /// + 1 columns. Rows are `stride` apart, a multiple of `LANES`.
    pub fn causal_softmax(scores: &mut [f32], stride: usize, scale: f32) {
        for (row, scores) in scores.chunks_exact_mut(stride).enumerate() {
            let visible = row + 1;
            let (seen, hidden) = scores.split_at_mut(visible.next_multiple_of(LANES).min(stride));
            seen[visible..].fill(f32::MIN);
            let mut lanes = [f32::MIN; LANES];
            for chunk in seen.as_chunks::<LANES>().0 {
                for i in 0..LANES {
                    lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
                }
            }
            let max = fold(lanes, f32::max);
            let mut lanes = [0.0; LANES];
            for chunk in seen.as_chunks_mut::<LANES>().0 {
                for i in 0..LANES {
                    chunk[i] = exp((chunk[i] - max) * scale);
                    lanes[i] += chunk[i];
                }
            }
            let inverse = 1.0 / fold(lanes, |x, y| x + y);
            for x in seen.iter_mut() {
                *x *= inverse;
            }
            seen[visible..].fill(0.0);
            hidden.fill(0.0);
        }
    }
}

kernel! {
    /// Replaces `d_probs` by the gradient of the scores before scaling.
    pub fn causal_softmax_backward(probs: &[f32], d_probs: &mut [f32], stride: usize, scale: f32) {
        let rows = probs.chunks_exact(stride).zip(d_probs.chunks_exact_mut(stride));
        for (row, (probs, d_probs)) in rows.enumerate() {
            let end = (row + 1).next_multiple_of(LANES).min(stride);
            let pull = dot(&probs[..end], &d_probs[..end]);
            for (d, p) in d_probs[..end].iter_mut().zip(&probs[..end]) {
                *d = scale * p * (*d - pull);
            }
            d_probs[end..].fill(0.0);
        }
    }
}

kernel! {
    /// Replaces each row of logits by the gradient of `weight` times its cross-entropy. Returns
    /// the sum of the cross-entropies.
    pub fn cross_entropy(logits: &mut [f32], vocab: usize, targets: &[u32], weight: f32) -> f64 {
        let mut total = 0.0_f64;
        for (row, &target) in logits.chunks_exact_mut(vocab).zip(targets) {
            let max = row.iter().copied().fold(f32::MIN, |a, b| if b > a { b } else { a });
            let own = row[target as usize] - max;
            let mut sum = 0.0;
            let (chunks, tail) = row.as_chunks_mut::<LANES>();
            let mut lanes = [0.0; LANES];
            for chunk in chunks {
                for i in 0..LANES {
                    chunk[i] = exp(chunk[i] - max);
                    lanes[i] += chunk[i];
                }
            }
            for x in tail {
                *x = exp(*x - max);
                sum += *x;
            }
            sum += fold(lanes, |x, y| x + y);
            total += f64::from(sum).ln() - f64::from(own);
            let factor = weight / sum;
            for x in row.iter_mut() {
                *x *= factor;
            }
            row[target as usize] -= weight;
        }
        total
    }
}

kernel! {
    /// `out += x`.
    pub fn add(out: &mut [f32], x: &[f32]) {
        for (out, x) in out.iter_mut().zip(x) {
            *out += x;
        }
    }
}
