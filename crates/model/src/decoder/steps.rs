//! From logits to a step: greedy token, top-k probabilities and entropy.

use std::cmp::Ordering;

use pulp::{Simd, WithSimd};
use tokenroute_core::{Detail, Step, TokenId};
use tokenroute_kernels::Pool;

use super::linear::arch;
use super::row_ops::{exp, fma, fold, max};

/// Logits of a part. Threads share out the parts of a large vocabulary. Results are
/// combined in order, so that bits do not depend on the threads.
const PART: usize = 1 << 14;

/// The step of one position from its logits and its hidden state; `None` if a logit is not
/// finite.
pub(crate) fn step(
    pool: &Pool,
    logits: &[f32],
    hidden: &[f32],
    detail: Detail,
    top_k: usize,
) -> Option<Step> {
    let most = parts(pool, logits, |_, part| arch().dispatch(Greatest(part)));
    let most = most.into_iter().collect::<Option<Vec<f32>>>()?;
    let most = most.into_iter().reduce(f32::max)?;
    if detail == Detail::Token {
        let token = logits.iter().position(|&l| l == most)? as TokenId;
        return Some(Step {
            token,
            top: vec![],
            top_logits: vec![],
            entropy: 0.0,
            rest: 1.0,
            hidden: [].into(),
            logits: None,
        });
    }
    let k = top_k.clamp(1, logits.len());
    let found = parts(pool, logits, |first, part| {
        let mut top = arch().dispatch(Top { logits: part, k });
        top.iter_mut().for_each(|(token, _)| *token += first as TokenId);
        (top, arch().dispatch(Spread { logits: part, most }))
    });
    let mut top = Vec::with_capacity(found.len() * k);
    let (mut total, mut weighted) = (0.0, 0.0);
    // The greedy token is one of the greatest logits; the others belong to the rest.
    let mut others = -1.0;
    for (part, spread) in found {
        top.extend(part);
        total += spread.total;
        weighted += spread.weighted;
        others += f64::from(spread.below) + f64::from(spread.greatest);
    }
    // The sort is stable: equal logits stay in the order of their ids.
    top.sort_by(|a: &(TokenId, f32), b| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal));
    let token = top.first()?.0;
    top.truncate(top_k);
    let top_logits = top.iter().map(|&(_, logit)| logit).collect();
    for (_, p) in &mut top {
        *p = arch().dispatch(Exp(*p - most)) / total;
    }
    Some(Step {
        token,
        top,
        top_logits,
        entropy: (total.ln() - weighted / total).max(0.0),
        rest: others / (1.0 + others),
        hidden: hidden.into(),
        logits: (detail == Detail::Logits).then(|| logits.to_vec()),
    })
}

/// Calls `find` with every part and the index of its first logit. Results are in order.
fn parts<T: Default + Send>(
    pool: &Pool,
    logits: &[f32],
    find: impl Fn(usize, &[f32]) -> T + Sync,
) -> Vec<T> {
    let mut found: Vec<T> = Vec::new();
    found.resize_with(logits.len().div_ceil(PART), T::default);
    pool.chunks_mut(&mut found, 1, |i, found| {
        let part = &logits[i * PART..];
        found[0] = find(i * PART, &part[..part.len().min(PART)]);
    });
    found
}

/// The `k` greatest of finite logits with their ids, greatest first, ties to the lowest id.
struct Top<'a> {
    logits: &'a [f32],
    k: usize,
}

impl WithSimd for Top<'_> {
    type Output = Vec<(TokenId, f32)>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<(TokenId, f32)> {
        const CHUNK: usize = 32;
        let Top { logits, k } = self;
        let maxima: Vec<f32> = logits.chunks(CHUNK).map(max).collect();
        // Take the k chunks with the greatest maxima. Each holds a logit at least as great as
        // the least of these maxima, so no smaller logit is among the k greatest.
        let mut least = f32::NEG_INFINITY;
        if k <= maxima.len() {
            let mut ordered = maxima.clone();
            least = *ordered.select_nth_unstable_by(k - 1, |a, b| b.total_cmp(a)).1;
        }
        let mut top: Vec<(TokenId, f32)> = Vec::with_capacity(k + 1);
        for (chunk, most) in maxima.into_iter().enumerate() {
            if most < least {
                continue;
            }
            let first = chunk * CHUNK;
            let logits = &logits[first..logits.len().min(first + CHUNK)];
            for (i, &logit) in logits.iter().enumerate().filter(|(_, logit)| **logit >= least) {
                let at = top.partition_point(|t| t.1 >= logit);
                if at < k {
                    top.insert(at, ((first + i) as TokenId, logit));
                    top.truncate(k);
                }
            }
        }
        top
    }
}

/// The greatest logit; `None` if one is not finite.
struct Greatest<'a>(&'a [f32]);

impl WithSimd for Greatest<'_> {
    type Output = Option<f32>;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Option<f32> {
        let odd = self
            .0
            .iter()
            .fold(0u32, |odd, x| odd | u32::from(x.to_bits() & 0x7f80_0000 == 0x7f80_0000));
        (odd == 0 && !self.0.is_empty()).then(|| max(self.0))
    }
}

/// Sums over the logits lᵢ of a part, with eᵢ = exp(lᵢ − max).
#[derive(Default)]
struct Sums {
    /// Z = Σ eᵢ. The entropy of the softmax is H = ln Z − Σ eᵢ·(lᵢ − max) / Z.
    total: f32,
    /// Σ eᵢ·(lᵢ − max)
    weighted: f32,
    /// Σ eᵢ over lᵢ < max, which keeps what Z loses beside a 1.
    below: f32,
    /// Number of logits equal to the greatest of all parts.
    greatest: f32,
}

/// Computes [`Sums`].
struct Spread<'a> {
    logits: &'a [f32],
    /// The greatest logit of all parts.
    most: f32,
}

impl WithSimd for Spread<'_> {
    type Output = Sums;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Sums {
        const LANES: usize = 16;
        let (mut totals, mut weighted) = ([0.0; LANES], [0.0; LANES]);
        let (mut lower, mut greatest) = ([0.0; LANES], [0.0; LANES]);
        let (chunks, rest) = self.logits.as_chunks::<LANES>();
        for chunk in chunks {
            let below = chunk.map(|logit| logit - self.most);
            let mut exponentials = [0.0; LANES];
            for i in 0..LANES {
                exponentials[i] = exp::<S>(below[i]);
            }
            for i in 0..LANES {
                totals[i] += exponentials[i];
                weighted[i] = fma::<S>(exponentials[i], below[i], weighted[i]);
                lower[i] += if below[i] < 0.0 { exponentials[i] } else { 0.0 };
                greatest[i] += if below[i] < 0.0 { 0.0 } else { 1.0 };
            }
        }
        for (i, &logit) in rest.iter().enumerate() {
            let below = logit - self.most;
            let exponential = exp::<S>(below);
            totals[i] += exponential;
            weighted[i] = fma::<S>(exponential, below, weighted[i]);
            lower[i] += if below < 0.0 { exponential } else { 0.0 };
            greatest[i] += if below < 0.0 { 0.0 } else { 1.0 };
        }
        Sums {
            total: fold(totals),
            weighted: fold(weighted),
            below: fold(lower),
            greatest: fold(greatest),
        }
    }
}

/// One exponential, with the same bits as in [`Spread`].
struct Exp(f32);

impl WithSimd for Exp {
    type Output = f32;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        exp::<S>(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(logits: &[f32], hidden: &[f32], detail: Detail, top_k: usize) -> Option<Step> {
        let pool = Pool::new(2).expect("a thread");
        super::step(&pool, logits, hidden, detail, top_k)
    }

    #[test]
    fn ties_go_to_the_lowest_id_and_probabilities_are_exact_enough() {
        let logits = [1.0, 3.0, -2.0, 3.0, 0.0];
        let s = step(&logits, &[0.5], Detail::Full, 3).expect("finite");
        let z: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        let p: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp() / z).collect();
        let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
        assert_eq!(s.token, 1);
        assert_eq!(s.top.iter().map(|t| t.0).collect::<Vec<_>>(), [1, 3, 0]);
        assert_eq!(s.top_logits, [3.0, 3.0, 1.0]);
        assert!((f64::from(s.top[2].1) - p[0]).abs() < 1e-6);
        assert!((f64::from(s.entropy) - entropy).abs() < 1e-6);
        assert!((s.max_probability() - p[1]).abs() < 1e-6, "a tie is in the rest");
        assert_eq!((s.hidden.as_ref(), s.logits), ([0.5].as_slice(), None));
        let token = step(&logits, &[0.5], Detail::Token, 3).expect("finite");
        assert_eq!((token.token, token.top.len(), token.hidden.len()), (1, 0, 0));
    }

    #[test]
    fn the_top_is_what_a_stable_sort_has_first() {
        for (n, k) in [(5, 8), (32, 1), (300, 8), (1000, 40), (PART + 700, 8)] {
            let logits: Vec<f32> = (0..n).map(|i| (i * 7919 % 613) as f32 / 31.0 - 9.0).collect();
            let mut sorted: Vec<usize> = (0..n).collect();
            sorted.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
            let found = step(&logits, &[], Detail::Full, k).expect("finite").top;
            let found: Vec<usize> = found.iter().map(|t| t.0 as usize).collect();
            assert_eq!(found, sorted[..k.min(n)], "{k} of {n}");
        }
    }

    #[test]
    fn a_large_vocabulary_is_put_together_from_its_parts() {
        let mut logits: Vec<f32> = (0..2 * PART + 5).map(|i| (i % 101) as f32 / 50.0).collect();
        for i in [PART - 1, PART, 2 * PART + 3] {
            logits[i] = 9.0;
        }
        let z: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        let p = |logit: f64| logit.exp() / z;
        let entropy: f64 = logits.iter().map(|l| -p(f64::from(*l)) * p(f64::from(*l)).ln()).sum();
        let s = step(&logits, &[], Detail::Full, 4).expect("finite");
        let ids: Vec<usize> = s.top.iter().map(|t| t.0 as usize).collect();
        assert_eq!(ids, [PART - 1, PART, 2 * PART + 3, 100]);
        assert_eq!(s.token as usize, PART - 1);
        assert!((f64::from(s.top[2].1) - p(9.0)).abs() < 1e-6 * p(9.0) * 10.0);
        assert!((f64::from(s.entropy) - entropy).abs() < 1e-4);
        let token = step(&logits, &[], Detail::Token, 4).expect("finite");
        assert_eq!(token.token as usize, PART - 1);
        logits[PART + 7] = f32::NAN;
        assert!(step(&logits, &[], Detail::Full, 4).is_none());
    }

    #[test]
    fn probabilities_near_one_do_not_tie() {
        // In f32 all of these are 1.
        let steps = (0..500u16).map(|i| {
            let lead = 18.0 + f32::from(i) / 50.0;
            step(&[0.0, lead, -1.0], &[], Detail::Full, 2).expect("finite")
        });
        let steps: Vec<Step> = steps.collect();
        let certainties = |of: fn(&Step) -> f64| steps.iter().map(of).collect::<Vec<f64>>();
        for rising in [
            certainties(Step::max_probability),
            certainties(Step::margin),
            certainties(|step| 1.0 - f64::from(step.entropy)),
        ] {
            assert!(rising.windows(2).all(|pair| pair[0] < pair[1] && pair[1] < 1.0));
        }
        assert!((steps[100].rest / (-20f64).exp() - 1.0 - (-1f64).exp()).abs() < 1e-5);
    }

    #[test]
    fn what_is_not_finite_gives_no_step() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(step(&[0.0, bad, 1.0], &[], Detail::Token, 1).is_none());
        }
    }

    #[test]
    fn a_certain_distribution_has_no_entropy() {
        let s = step(&[0.0, 500.0], &[], Detail::Logits, 8).expect("finite");
        assert!((0.0..1e-30).contains(&s.entropy));
        assert_eq!(s.top[0], (1, 1.0));
        assert_eq!(s.logits, Some(vec![0.0, 500.0]));
    }
}
