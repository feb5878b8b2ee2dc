//! Causal attention of one row over the keys of its own sequence, in order. Its bits depend
//! on that sequence alone, not on the queries that are computed together.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::kv_state::{BLOCK, Block, COLUMN, KvShape};
use super::linear::arch;
use super::row_ops::exponentials;

thread_local! {
    /// Scores of one part, `[queries, positions]`.
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// The queries of one row that share a head of keys, with the positions that the row sees.
pub(crate) struct Attend<'a> {
    pub(crate) shape: &'a KvShape,
    pub(crate) blocks: &'a [Arc<Block>],
    pub(crate) layer: usize,
    pub(crate) kv_head: usize,
    /// Positions that the row sees; its own is the last.
    pub(crate) seen: Range<usize>,
    /// `[heads of the group, head_dim]`, scaled by 1/√head_dim.
    pub(crate) queries: &'a [f32],
    /// `[heads of the group, head_dim]`
    pub(crate) out: &'a mut [f32],
}

impl Attend<'_> {
    pub(crate) fn run(self) {
        SCORES.with_borrow_mut(|scores| arch().dispatch(Scored { attend: self, scores }));
    }
}

/// [`Attend`] with a buffer for its scores.
struct Scored<'a, 'b> {
    attend: Attend<'a>,
    scores: &'b mut Vec<f32>,
}

impl WithSimd for Scored<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // As many queries at a time as there are registers for their sums.
        let most = if S::F32_LANES >= 16 { 4 } else { 2 };
        let Attend { shape, blocks, layer, kv_head, seen, queries, out } = self.attend;
        // From here on, positions count from the first block that the row sees.
        let first = seen.start / BLOCK;
        let keys = Keys { shape, blocks: &blocks[first..seen.end.div_ceil(BLOCK)], layer, kv_head };
        let seen = seen.start - first * BLOCK..seen.end - first * BLOCK;
        let positions = keys.blocks.len() * BLOCK;
        self.scores.resize(most * positions, 0.0);
        let heads = queries.len() / shape.head_dim;
        let parts = heads.div_ceil(most);
        for part in 0..parts {
            let heads =
                part * heads / parts * shape.head_dim..(part + 1) * heads / parts * shape.head_dim;
            let (queries, out) = (&queries[heads.clone()], &mut out[heads]);
            let scores = &mut self.scores[..queries.len() / shape.head_dim * positions];
            match queries.len() / shape.head_dim {
                1 => attend::<S, 1>(simd, &keys, &seen, queries, scores, out),
                2 => attend::<S, 2>(simd, &keys, &seen, queries, scores, out),
                3 => attend::<S, 3>(simd, &keys, &seen, queries, scores, out),
                _ => attend::<S, 4>(simd, &keys, &seen, queries, scores, out),
            }
        }
    }
}

/// Keys and values of one head.
struct Keys<'a> {
    shape: &'a KvShape,
    blocks: &'a [Arc<Block>],
    layer: usize,
    kv_head: usize,
}

impl Keys<'_> {
    #[inline(always)]
    fn block(&self, index: usize) -> (&[f32], &[f32]) {
        self.blocks[index].head(self.shape, self.layer, self.kv_head)
    }
}

/// `Q` queries `[Q, head_dim]` → `out` `[Q, head_dim]`; `scores` is `[Q, positions]`.
#[inline(always)]
fn attend<S: Simd, const Q: usize>(
    simd: S,
    keys: &Keys<'_>,
    seen: &Range<usize>,
    queries: &[f32],
    scores: &mut [f32],
    out: &mut [f32],
) {
    let positions = keys.blocks.len() * BLOCK;
    for block in 0..keys.blocks.len() {
        score_block::<S, Q>(simd, keys.block(block).0, queries, block * BLOCK, positions, scores);
    }
    let mut scales = [0.0; Q];
    for (scores, scale) in scores.chunks_exact_mut(positions).zip(&mut scales) {
        // Positions that the row does not see weigh 0, so whole groups of four can be summed.
        let (_, total) = exponentials::<S>(scores, seen.clone());
        *scale = 1.0 / total;
    }
    weigh::<S, Q>(simd, keys, seen.end, scores, scales, out);
}

/// Query · key for all positions of a block: `keys` `[head_dim, BLOCK]` → `scores`
/// `[Q, positions]` from `first` on. Each is one chain of sums over dimensions in order.
#[inline(always)]
fn score_block<S: Simd, const Q: usize>(
    simd: S,
    keys: &[f32],
    queries: &[f32],
    first: usize,
    positions: usize,
    scores: &mut [f32],
) {
    let keys = S::as_simd_f32s(keys).0;
    let width = BLOCK / S::F32_LANES;
    let head_dim = queries.len() / Q;
    let queries: [&[f32]; Q] = std::array::from_fn(|q| &queries[q * head_dim..][..head_dim]);
    for pair in 0..width / 2 {
        let mut sums = [[simd.splat_f32s(0.0); 2]; Q];
        for (d, keys) in keys.chunks_exact(width).enumerate() {
            let keys = &keys[2 * pair..][..2];
            for q in 0..Q {
                let query = simd.splat_f32s(queries[q][d]);
                sums[q][0] = simd.mul_add_e_f32s(query, keys[0], sums[q][0]);
                sums[q][1] = simd.mul_add_e_f32s(query, keys[1], sums[q][1]);
            }
        }
        for (q, sums) in sums.iter().enumerate() {
            let scores = &mut scores[q * positions + first..][..BLOCK];
            S::as_mut_simd_f32s(scores).0[2 * pair..][..2].copy_from_slice(sums);
        }
    }
}

/// Σ weight · value, times `scales`: four chains of sums, one per position modulo 4, added
/// at the end.
#[inline(always)]
fn weigh<S: Simd, const Q: usize>(
    simd: S,
    keys: &Keys<'_>,
    positions: usize,
    weights: &[f32],
    scales: [f32; Q],
    out: &mut [f32],
) {
    let vectors = COLUMN / S::F32_LANES;
    let (head_dim, stride) = (out.len() / Q, weights.len() / Q);
    for from in (0..head_dim).step_by(S::F32_LANES) {
        let (column, v) = (from / COLUMN, from % COLUMN / S::F32_LANES);
        let mut sums = [[simd.splat_f32s(0.0); 4]; Q];
        for b in 0..keys.blocks.len() {
            let rows = keys.block(b).1;
            let rows = S::as_simd_f32s(&rows[column * COLUMN * BLOCK..][..COLUMN * BLOCK]).0;
            let used = (positions - b * BLOCK).min(BLOCK).next_multiple_of(4);
            let weights: [&[[f32; 4]]; Q] = std::array::from_fn(|q| {
                weights[q * stride + b * BLOCK..][..used].as_chunks::<4>().0
            });
            for (four, rows) in rows.chunks_exact(4 * vectors).take(used / 4).enumerate() {
                for i in 0..4 {
                    let row = rows[i * vectors + v];
                    for q in 0..Q {
                        let weight = simd.splat_f32s(weights[q][four][i]);
                        sums[q][i] = simd.mul_add_e_f32s(weight, row, sums[q][i]);
                    }
                }
            }
        }
        for q in 0..Q {
            let low = simd.add_f32s(sums[q][0], sums[q][1]);
            let high = simd.add_f32s(sums[q][2], sums[q][3]);
            let total = simd.mul_f32s(simd.add_f32s(low, high), simd.splat_f32s(scales[q]));
            let to = (from + S::F32_LANES).min(head_dim);
            match S::as_mut_simd_f32s(&mut out[q * head_dim..][from..to]) {
                ([whole], _) => *whole = total,
                (_, rest) => simd.partial_store_f32s(rest, total),
            }
        }
    }
}
