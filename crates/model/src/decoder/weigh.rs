//! The second product of attention: Σ weight · value for the heads of one row.

use std::ops::Range;
use std::sync::Arc;

use pulp::Simd;

use super::kv_block::{BLOCK, Block, COLUMN, KvShape};

/// Columns of values that are computed together: two vectors at least.
#[inline(always)]
pub(super) fn columns_together<S: Simd>() -> usize {
    if S::F32_LANES >= COLUMN { 2 } else { 1 }
}

/// Some columns of a head's values.
pub(super) struct Values<'a> {
    pub(super) shape: &'a KvShape,
    /// The row's blocks.
    pub(super) blocks: &'a [Arc<Block>],
    pub(super) layer: usize,
    pub(super) kv_head: usize,
    pub(super) columns: Range<usize>,
    /// The columns of every block as f32, if the blocks hold other numbers.
    pub(super) converted: &'a [f32],
}

impl Values<'_> {
    /// The columns of a block, `[columns, BLOCK, COLUMN]`.
    #[inline(always)]
    fn block(&self, index: usize) -> &[f32] {
        let Values { shape, blocks, layer, kv_head, columns, converted } = self;
        let stored = blocks[index].values(shape, *layer, *kv_head, columns.start, columns.len());
        let size = columns.len() * BLOCK * COLUMN;
        match stored.as_f32() {
            Some(values) => values,
            None => &converted[index * size..][..size],
        }
    }
}

/// The sums of a row's heads in some dimensions.
pub(super) struct Weigh<'a> {
    /// Positions up to the row's own.
    pub(super) end: usize,
    /// `[heads, blocks, BLOCK]`
    pub(super) weights: &'a [f32],
    /// Factors of the sums `[heads]`.
    pub(super) scales: &'a [f32],
    /// `[heads, head_dim]`
    pub(super) out: &'a mut [f32],
}

impl Weigh<'_> {
    /// Computes the sums.
    ///
    /// Each sum is four chains, one per position modulo 4, added at the end. Chains are
    /// computed as many at a time as there are registers.
    #[inline(always)]
    pub(super) fn run<S: Simd>(self, simd: S, values: &Values<'_>) {
        if S::F32_LANES >= COLUMN {
            // There are 32 registers.
            match self.scales.len() {
                1 => self.heads::<S, 1, 4>(simd, values),
                2 => self.heads::<S, 2, 4>(simd, values),
                3 => self.heads::<S, 3, 4>(simd, values),
                4 => self.heads::<S, 4, 2>(simd, values),
                5 => self.heads::<S, 5, 2>(simd, values),
                6 => self.heads::<S, 6, 2>(simd, values),
                7 => self.heads::<S, 7, 2>(simd, values),
                _ => self.heads::<S, 8, 1>(simd, values),
            }
        } else {
            match self.scales.len() {
                1 => self.heads::<S, 1, 4>(simd, values),
                2 => self.heads::<S, 2, 2>(simd, values),
                3 => self.heads::<S, 3, 2>(simd, values),
                _ => self.heads::<S, 4, 1>(simd, values),
            }
        }
    }

    /// `Q` heads, `C` chains at a time.
    #[inline(always)]
    fn heads<S: Simd, const Q: usize, const C: usize>(mut self, simd: S, values: &Values<'_>) {
        let vectors = values.columns.len() * (COLUMN / S::F32_LANES);
        for vector in (0..vectors).step_by(2) {
            if vector + 1 < vectors {
                self.vectors::<S, Q, C, 2>(simd, values, vector);
            } else {
                self.vectors::<S, Q, C, 1>(simd, values, vector);
            }
        }
    }

    /// `V` vectors of dimensions.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "indices run over several arrays at once")]
    fn vectors<S: Simd, const Q: usize, const C: usize, const V: usize>(
        &mut self,
        simd: S,
        values: &Values<'_>,
        vector: usize,
    ) {
        let of_column = COLUMN / S::F32_LANES;
        let (head_dim, positions) = (self.out.len() / Q, values.blocks.len() * BLOCK);
        let mut totals = [[[simd.splat_f32s(0.0); V]; 4]; Q];
        for chain in (0..4).step_by(C) {
            let mut sums = [[[simd.splat_f32s(0.0); V]; C]; Q];
            for block in 0..values.blocks.len() {
                let columns = S::as_simd_f32s(values.block(block)).0;
                let columns: [_; V] = std::array::from_fn(|v| {
                    let column = (vector + v) / of_column;
                    &columns[column * BLOCK * of_column..][..BLOCK * of_column]
                });
                let fours = (self.end - block * BLOCK).min(BLOCK).div_ceil(4);
                let weights: [&[[f32; 4]]; Q] = std::array::from_fn(|q| {
                    let weights = &self.weights[q * positions + block * BLOCK..][..BLOCK];
                    &weights.as_chunks::<4>().0[..fours]
                });
                for four in 0..fours {
                    for c in 0..C {
                        let position = (4 * four + chain + c) * of_column;
                        let row: [S::f32s; V] = std::array::from_fn(|v| {
                            columns[v][position + (vector + v) % of_column]
                        });
                        for q in 0..Q {
                            let weight = simd.splat_f32s(weights[q][four][chain + c]);
                            for v in 0..V {
                                sums[q][c][v] = simd.mul_add_e_f32s(weight, row[v], sums[q][c][v]);
                            }
                        }
                    }
                }
            }
            for q in 0..Q {
                totals[q][chain..chain + C].copy_from_slice(&sums[q]);
            }
        }
        for q in 0..Q {
            for v in 0..V {
                let from = values.columns.start * COLUMN + (vector + v) * S::F32_LANES;
                let to = (from + S::F32_LANES).min(head_dim);
                if from >= to {
                    continue;
                }
                let low = simd.add_f32s(totals[q][0][v], totals[q][1][v]);
                let high = simd.add_f32s(totals[q][2][v], totals[q][3][v]);
                let scale = simd.splat_f32s(self.scales[q]);
                let total = simd.mul_f32s(simd.add_f32s(low, high), scale);
                match S::as_mut_simd_f32s(&mut self.out[q * head_dim..][from..to]) {
                    ([whole], _) => *whole = total,
                    (_, rest) => simd.partial_store_f32s(rest, total),
                }
            }
        }
    }
}
