//! Causal attention of a group of sequences. Their earlier keys and values are gathered into
//! one tensor, padded to the longest.

use std::ops::Range;

use candle_core::{DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::CandleState;
use super::plan::{Group, Piece};
use super::tensors::Place;

/// The shape of attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) queries: usize,
    pub(super) key_values: usize,
    pub(super) dim: usize,
    /// Factor of queries · keys.
    pub(super) scale: f64,
}

/// A group on its way through the layers.
pub(super) struct Attention {
    heads: Heads,
    rows: Range<usize>,
    sequences: usize,
    /// Tokens of each sequence.
    len: usize,
    /// Earlier positions of each sequence, padding included.
    past: usize,
    /// `[sequences * past, layers, keys then values]`, if there are any.
    earlier: Option<Tensor>,
    /// For each window of the layers, 0 where a row sees a position and −∞ elsewhere:
    /// `[sequences, 1, 1, len, past + len]`. `None` if rows see all positions.
    masks: Vec<(Option<usize>, Option<Tensor>)>,
}

impl Attention {
    /// Gathers what a group has read. `states` gives the state of a feed.
    pub(super) fn new<'s>(
        place: &Place,
        heads: Heads,
        group: &Group,
        pieces: &[Piece],
        windows: &[Option<usize>],
        states: impl Fn(usize) -> &'s CandleState,
    ) -> Result<Self> {
        let pieces = &pieces[group.pieces.clone()];
        let (sequences, past, len) = (pieces.len(), group.past, group.len);
        let mut parts = Vec::new();
        for piece in pieces {
            parts.extend(states(piece.feed).parts()?);
            if piece.past < past {
                let padding = (past - piece.past, windows.len(), 2 * heads.key_values * heads.dim);
                parts.push(Tensor::zeros(padding, place.floats(), place.device())?);
            }
        }
        let earlier = if past > 0 { Some(Tensor::cat(&parts, 0)?) } else { None };
        let mut masks: Vec<(Option<usize>, Option<Tensor>)> = Vec::new();
        for &window in windows {
            if masks.iter().any(|mask| mask.0 == window) {
                continue;
            }
            let shape = (sequences, 1, 1, len, past + len);
            let mask = mask(pieces, past, window)
                .map(|mask| Tensor::from_vec(mask, shape, place.device()));
            masks.push((window, mask.transpose()?));
        }
        Ok(Attention { heads, rows: group.rows.clone(), sequences, len, past, earlier, masks })
    }

    /// Softmax(queries · keys) · values of one layer: queries `[rows, heads * dim]` and keys then
    /// values of all rows of the pass → `[rows of the group, heads * dim]`.
    pub(super) fn run(
        &self,
        layer: usize,
        window: Option<usize>,
        queries: &Tensor,
        new: &Tensor,
    ) -> Result<Tensor> {
        let Heads { queries: heads, key_values, dim, scale } = self.heads;
        let (sequences, len, positions) = (self.sequences, self.len, self.past + self.len);
        let (together, width) = (heads / key_values, 2 * key_values * dim);
        let ours = |x: &Tensor| x.narrow(0, self.rows.start, self.rows.len());
        let new = ours(new)?.reshape((sequences, len, width))?;
        let all = match &self.earlier {
            None => new,
            Some(earlier) => {
                let earlier = earlier.narrow(1, layer, 1)?;
                Tensor::cat(&[&earlier.reshape((sequences, self.past, width))?, &new], 1)?
            }
        };
        let all = all.reshape((sequences, positions, 2, key_values, dim))?;
        // [sequences, key heads, positions, dim]
        let part = |which| all.narrow(2, which, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let (keys, values) = (part(0)?, part(1)?);
        // [sequences, key heads, heads of a group * len, dim]
        let queries = ours(queries)?
            .reshape((sequences, len, key_values, together, dim))?
            .permute((0, 2, 3, 1, 4))?
            .contiguous()?
            .reshape((sequences, key_values, together * len, dim))?;
        let scores = (queries.matmul(&keys.t()?)?.to_dtype(DType::F32)? * scale)?;
        let scores = scores.reshape((sequences, key_values, together, len, positions))?;
        let mask = self.masks.iter().find(|mask| mask.0 == window).and_then(|mask| mask.1.as_ref());
        let scores = match mask {
            Some(mask) => scores.broadcast_add(mask)?,
            None => scores,
        };
        let weights = softmax_last_dim(&scores)?.to_dtype(values.dtype())?.reshape((
            sequences,
            key_values,
            together * len,
            positions,
        ))?;
        weights
            .matmul(&values)?
            .reshape((sequences, key_values, together, len, dim))?
            .permute((0, 3, 1, 2, 4))?
            .reshape((sequences * len, heads * dim))
    }
}

/// `[pieces, len, past + len]`: 0 where a row sees a position, −∞ elsewhere. `None` if all rows
/// see all positions.
fn mask(pieces: &[Piece], past: usize, window: Option<usize>) -> Option<Vec<f32>> {
    let mut mask = Vec::new();
    for piece in pieces {
        for row in 0..piece.len {
            let own = piece.past + row;
            let first = window.map_or(0, |window| (own + 1).saturating_sub(window));
            let seen = |position: usize| (first..=own).contains(&position);
            mask.extend((0..past).map(|at| at < piece.past && seen(at)));
            mask.extend((0..piece.len).map(|at| seen(piece.past + at)));
        }
    }
    let value = |seen| if seen { 0.0 } else { f32::NEG_INFINITY };
    (!mask.iter().all(|seen| *seen)).then(|| mask.into_iter().map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pieces: &[(usize, usize)], window: Option<usize>) -> Option<Vec<String>> {
        let pieces: Vec<Piece> =
            pieces.iter().map(|&(past, len)| Piece { feed: 0, from: 0, len, past }).collect();
        let past = pieces.iter().map(|piece| piece.past).max().unwrap_or(0);
        let mask = mask(&pieces, past, window)?;
        let row = |row: &[f32]| row.iter().map(|x| if *x == 0.0 { 'x' } else { '.' }).collect();
        Some(mask.chunks(past + pieces[0].len).map(row).collect())
    }

    #[test]
    fn rows_see_their_own_past_within_the_window() {
        assert_eq!(seen(&[(3, 1)], None), None);
        assert_eq!(seen(&[(3, 1), (3, 1)], Some(4)), None);
        assert_eq!(seen(&[(0, 3)], None).expect("a mask"), ["x..", "xx.", "xxx"]);
        assert_eq!(seen(&[(1, 1), (3, 1)], None).expect("a mask"), ["x..x", "xxxx"]);
        assert_eq!(seen(&[(3, 2)], Some(2)).expect("a mask"), ["..xx.", "...xx"]);
        assert_eq!(
            seen(&[(1, 2), (2, 2)], Some(3)).expect("a mask"),
            ["x.x.", "x.xx", "xxx.", ".xxx"]
        );
    }
}
