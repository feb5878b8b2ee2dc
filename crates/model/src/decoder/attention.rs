//! Causal attention of some rows over the keys of their own sequences, in order. A row's
//! bits depend on its sequence alone, not on the rows that are computed together.
//!
//! A block is visited once for all rows: it stays in the cache while they use it, and is
//! converted once for rows that share it.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use pulp::{Simd, WithSimd};

use super::kv_block::{BLOCK, Block, COLUMN, KvShape};
use super::linear::arch;
use super::row_ops::exponentials;
use super::weigh::{Values, Weigh, columns_together};

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers::NEW) };
}

/// The positions that a row sees in the blocks of its sequence. Its own is the last.
#[derive(Debug, Clone)]
pub(crate) struct AttendRow<'a> {
    pub(crate) blocks: &'a [Arc<Block>],
    pub(crate) seen: Range<usize>,
}

impl AttendRow<'_> {
    /// The blocks that hold these positions.
    #[inline(always)]
    fn used(&self) -> Range<usize> {
        self.seen.start / BLOCK..self.seen.end.div_ceil(BLOCK)
    }

    /// Positions of these blocks.
    #[inline(always)]
    fn positions(&self) -> usize {
        self.used().len() * BLOCK
    }
}

/// Rows, and the heads of keys that their queries are for.
pub(crate) struct Attend<'a> {
    pub(crate) shape: &'a KvShape,
    pub(crate) layer: usize,
    pub(crate) rows: &'a [AttendRow<'a>],
    pub(crate) kv_heads: Range<usize>,
    /// Heads of queries that share a head of keys: a group.
    pub(crate) group: usize,
    /// The queries of a row begin `stride` numbers after those of the row before: per head
    /// of keys `[heads of the group, head_dim]`, scaled by 1/√head_dim.
    pub(crate) queries: &'a [f32],
    pub(crate) stride: usize,
    /// `[rows, kv_heads, heads of the group, head_dim]`
    pub(crate) out: &'a mut [f32],
}

/// Numbers of one head of keys.
struct Buffers {
    /// Scores of every row, `[heads of the group, positions]`.
    scores: Vec<f32>,
    /// 1 / sum of the exponentials, `[rows, heads of the group]`.
    scales: Vec<f32>,
    /// The keys of a block as f32.
    keys: Vec<f32>,
    /// Some columns of all blocks' values as f32, `[blocks, columns, BLOCK, COLUMN]`.
    values: Vec<f32>,
    /// The blocks that `values` was converted from.
    converted: Vec<*const Block>,
}

impl Buffers {
    const NEW: Buffers = Buffers {
        scores: Vec::new(),
        scales: Vec::new(),
        keys: Vec::new(),
        values: Vec::new(),
        converted: Vec::new(),
    };
}

impl Attend<'_> {
    pub(crate) fn run(self) {
        BUFFERS.with_borrow_mut(|buffers| arch().dispatch(Buffered { attend: self, buffers }));
    }

    /// All blocks that a row uses.
    #[inline(always)]
    fn blocks(&self) -> Range<usize> {
        let first = self.rows.iter().map(|row| row.used().start).min().unwrap_or(0);
        first..self.rows.iter().map(|row| row.used().end).max().unwrap_or(0)
    }

    /// A row's queries for a head of keys, of these heads of its group.
    #[inline(always)]
    fn queries(&self, row: usize, kv_head: usize, heads: &Range<usize>) -> &[f32] {
        let head = (kv_head - self.kv_heads.start) * self.group + heads.start;
        &self.queries[row * self.stride + head * self.shape.head_dim..]
            [..heads.len() * self.shape.head_dim]
    }
}

/// [`Attend`] with its buffers.
struct Buffered<'a, 'b> {
    attend: Attend<'a>,
    buffers: &'b mut Buffers,
}

impl WithSimd for Buffered<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for kv_head in self.attend.kv_heads.clone() {
            self.score(simd, kv_head);
            self.normalise::<S>();
            self.weigh(simd, kv_head);
        }
    }
}

/// Heads of a group that are computed together: there are registers for their sums.
#[inline(always)]
fn heads_together<S: Simd>(group: usize) -> usize {
    let most = if S::F32_LANES >= 16 { 8 } else { 4 };
    if group <= most { group } else { group.div_ceil(group.div_ceil(most)) }
}

impl Buffered<'_, '_> {
    /// Query · key for all positions of the rows' blocks.
    #[inline(always)]
    fn score<S: Simd>(&mut self, simd: S, kv_head: usize) {
        let Buffered { attend, buffers } = self;
        let attend = &*attend;
        let Attend { shape, layer, rows, .. } = attend;
        let (group, together) = (attend.group, heads_together::<S>(attend.group));
        let positions: usize = rows.iter().map(AttendRow::positions).sum();
        grow(&mut buffers.scores, group * positions);
        grow(&mut buffers.keys, shape.head_dim * BLOCK);
        let converted = &mut buffers.keys[..shape.head_dim * BLOCK];
        let mut converted_from: *const Block = ptr::null();
        for b in attend.blocks() {
            let mut scores = buffers.scores.as_mut_slice();
            for (r, row) in rows.iter().enumerate() {
                let (used, positions) = (row.used(), row.positions());
                let (mine, rest) = scores.split_at_mut(group * positions);
                scores = rest;
                if !used.contains(&b) {
                    continue;
                }
                let block = &*row.blocks[b];
                let stored = block.keys(shape, *layer, kv_head);
                let keys = match stored.as_f32() {
                    Some(keys) => keys,
                    None => {
                        if !ptr::eq(block, converted_from) {
                            stored.convert(converted);
                            converted_from = block;
                        }
                        &*converted
                    }
                };
                let from = (b - used.start) * BLOCK;
                let mut heads = 0..together.min(group);
                while !heads.is_empty() {
                    let queries = attend.queries(r, kv_head, &heads);
                    let scores = &mut mine[heads.start * positions..heads.end * positions];
                    match heads.len() {
                        1 => score_block::<S, 1>(simd, keys, queries, from, scores),
                        2 => score_block::<S, 2>(simd, keys, queries, from, scores),
                        3 => score_block::<S, 3>(simd, keys, queries, from, scores),
                        4 => score_block::<S, 4>(simd, keys, queries, from, scores),
                        5 => score_block::<S, 5>(simd, keys, queries, from, scores),
                        6 => score_block::<S, 6>(simd, keys, queries, from, scores),
                        7 => score_block::<S, 7>(simd, keys, queries, from, scores),
                        _ => score_block::<S, 8>(simd, keys, queries, from, scores),
                    }
                    heads = heads.end..(heads.end + together).min(group);
                }
            }
        }
    }

    /// Replaces scores by exponentials.
    #[inline(always)]
    fn normalise<S: Simd>(&mut self) {
        let Buffered { attend, buffers } = self;
        let group = attend.group;
        buffers.scales.clear();
        let mut scores = buffers.scores.as_mut_slice();
        for row in attend.rows {
            let (positions, first) = (row.positions(), row.used().start * BLOCK);
            let seen = row.seen.start - first..row.seen.end - first;
            let (mine, rest) = scores.split_at_mut(group * positions);
            scores = rest;
            for scores in mine.chunks_exact_mut(positions) {
                // Positions that the row does not see weigh 0, so whole groups of four can
                // be summed.
                let (_, total) = exponentials::<S>(scores, seen.clone());
                buffers.scales.push(1.0 / total);
            }
        }
    }

    /// Σ weight · value.
    #[inline(always)]
    fn weigh<S: Simd>(&mut self, simd: S, kv_head: usize) {
        let all = self.attend.shape.padded_dim / COLUMN;
        for first in (0..all).step_by(columns_together::<S>()) {
            self.weigh_columns(simd, kv_head, first, columns_together::<S>().min(all - first));
        }
    }

    /// [`Self::weigh`] for `columns` columns of values.
    #[inline(always)]
    fn weigh_columns<S: Simd>(&mut self, simd: S, kv_head: usize, first: usize, columns: usize) {
        let Buffered { attend, buffers } = self;
        let (group, together) = (attend.group, heads_together::<S>(attend.group));
        let blocks = attend.blocks();
        let Attend { shape, layer, rows, kv_heads, out, .. } = attend;
        let Buffers { scores, scales, values, converted, .. } = &mut **buffers;
        let (head_dim, size) = (shape.head_dim, columns * BLOCK * COLUMN);
        let head = kv_head - kv_heads.start;
        let mut out = out.chunks_exact_mut(group * head_dim).skip(head).step_by(kv_heads.len());
        let (mut scores, mut scales) = (scores.as_slice(), scales.as_slice());
        converted.clear();
        converted.resize(blocks.len(), ptr::null());
        for row in *rows {
            let (used, positions) = (row.used(), row.positions());
            for b in used.clone() {
                let (block, slot) = (&*row.blocks[b], b - blocks.start);
                let stored = block.values(shape, *layer, kv_head, first, columns);
                if stored.as_f32().is_none() && !ptr::eq(block, converted[slot]) {
                    grow(values, blocks.len() * size);
                    stored.convert(&mut values[slot * size..][..size]);
                    converted[slot] = block;
                }
            }
            let values = Values {
                shape,
                blocks: &row.blocks[used.clone()],
                layer: *layer,
                kv_head,
                columns: first..first + columns,
                converted: values.get((used.start - blocks.start) * size..).unwrap_or(&[]),
            };
            let Some(out) = out.next() else { return };
            let mut heads = 0..together.min(group);
            while !heads.is_empty() {
                Weigh {
                    end: row.seen.end - used.start * BLOCK,
                    weights: &scores[heads.start * positions..heads.end * positions],
                    scales: &scales[heads.clone()],
                    out: &mut out[heads.start * head_dim..heads.end * head_dim],
                }
                .run(simd, &values);
                heads = heads.end..(heads.end + together).min(group);
            }
            (scores, scales) = (&scores[group * positions..], &scales[group..]);
        }
    }
}

fn grow(buffer: &mut Vec<f32>, len: usize) {
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
}

/// Query · key for all positions of a block: `queries` `[Q, head_dim]`, `keys`
/// `[head_dim, BLOCK]` → `scores` `[Q, positions]` from `first` on. Each is one chain of sums
/// over dimensions in order.
#[inline(always)]
fn score_block<S: Simd, const Q: usize>(
    simd: S,
    keys: &[f32],
    queries: &[f32],
    first: usize,
    scores: &mut [f32],
) {
    let keys = S::as_simd_f32s(keys).0;
    let width = BLOCK / S::F32_LANES;
    let (head_dim, positions) = (queries.len() / Q, scores.len() / Q);
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
