//! Causal attention of one row over its own sequence's keys, in order: its bits
//! depend on that sequence alone.

use std::ops::Range;
use std::sync::Arc;

use pulp::{Simd, WithSimd};

use crate::cache::{BLOCK, Block, COLUMN, CacheShape};
use crate::kernel::arch;
use crate::rows::exponentials;

/// One row's queries against the positions of its cache that it sees.
pub(crate) struct Attend<'a> {
    pub(crate) shape: &'a CacheShape,
    pub(crate) blocks: &'a [Arc<Block>],
    pub(crate) layer: usize,
    /// Positions seen, the row's own the last.
    pub(crate) seen: Range<usize>,
    /// `[heads, head_dim]`, scaled by 1/√head_dim.
    pub(crate) queries: &'a [f32],
    /// Scratch, grown to whole blocks of positions.
    pub(crate) scores: &'a mut Vec<f32>,
    /// `[heads, head_dim]`
    pub(crate) out: &'a mut [f32],
}

impl Attend<'_> {
    pub(crate) fn run(self) {
        arch().dispatch(self);
    }
}

impl WithSimd for Attend<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Attend { shape, blocks, layer, seen, queries, scores, out } = self;
        // From here on positions count from the first block that is seen.
        let first = seen.start / BLOCK;
        let blocks = &blocks[first..seen.end.div_ceil(BLOCK)];
        let seen = seen.start - first * BLOCK..seen.end - first * BLOCK;
        scores.resize(blocks.len() * BLOCK, 0.0);
        let group = queries.len() / shape.head_dim / shape.kv_heads;
        let heads = queries.chunks_exact(shape.head_dim).zip(out.chunks_exact_mut(shape.head_dim));
        for (head, (query, out)) in heads.enumerate() {
            let kv_head = head / group;
            for (block, scores) in blocks.iter().zip(scores.chunks_exact_mut(BLOCK)) {
                score_block(simd, block.head(shape, layer, kv_head).0, query, scores);
            }
            // Positions not seen weigh 0, so that whole groups of four can be summed.
            let (_, total) = exponentials::<S>(scores, seen.clone());
            let values = Values { shape, blocks, layer, kv_head };
            weigh(simd, &values, seen.end, scores, 1.0 / total, out);
        }
    }
}

/// Query · key for all positions of a block: `keys` `[head_dim, BLOCK]` → `scores` `[BLOCK]`.
#[inline(always)]
fn score_block<S: Simd>(simd: S, keys: &[f32], query: &[f32], scores: &mut [f32]) {
    let keys = S::as_simd_f32s(keys).0;
    let scores = S::as_mut_simd_f32s(scores).0;
    let width = BLOCK / S::F32_LANES;
    for (pair, scores) in scores.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let mut sums = [simd.splat_f32s(0.0); 2];
        for (&q, keys) in query.iter().zip(keys.chunks_exact(width)) {
            let q = simd.splat_f32s(q);
            let keys = &keys[2 * pair..][..2];
            sums[0] = simd.mul_add_e_f32s(q, keys[0], sums[0]);
            sums[1] = simd.mul_add_e_f32s(q, keys[1], sums[1]);
        }
        *scores = sums;
    }
}

struct Values<'a> {
    shape: &'a CacheShape,
    blocks: &'a [Arc<Block>],
    layer: usize,
    kv_head: usize,
}

/// Σ weight · value, times `scale`. Four chains, one per position modulo 4,
/// joined at the end.
#[inline(always)]
fn weigh<S: Simd>(
    simd: S,
    values: &Values<'_>,
    positions: usize,
    weights: &[f32],
    scale: f32,
    out: &mut [f32],
) {
    let vectors = COLUMN / S::F32_LANES;
    for (column, out) in out.chunks_mut(COLUMN).enumerate() {
        for (v, out) in out.chunks_mut(S::F32_LANES).enumerate() {
            let mut sums = [simd.splat_f32s(0.0); 4];
            for (b, weights) in weights.chunks_exact(BLOCK).enumerate() {
                let (_, rows) = values.blocks[b].head(values.shape, values.layer, values.kv_head);
                let rows = S::as_simd_f32s(&rows[column * COLUMN * BLOCK..][..COLUMN * BLOCK]).0;
                let used = (positions - b * BLOCK).min(BLOCK).next_multiple_of(4);
                let (weights, _) = weights[..used].as_chunks::<4>();
                for (four, rows) in weights.iter().zip(rows.chunks_exact(4 * vectors)) {
                    for i in 0..4 {
                        let weight = simd.splat_f32s(four[i]);
                        sums[i] = simd.mul_add_e_f32s(weight, rows[i * vectors + v], sums[i]);
                    }
                }
            }
            let low = simd.add_f32s(sums[0], sums[1]);
            let high = simd.add_f32s(sums[2], sums[3]);
            let total = simd.mul_f32s(simd.add_f32s(low, high), simd.splat_f32s(scale));
            match S::as_mut_simd_f32s(out) {
                ([whole], _) => *whole = total,
                (_, rest) => simd.partial_store_f32s(rest, total),
            }
        }
    }
}
