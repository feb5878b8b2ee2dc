//! The KV cache of one sequence, in blocks of 32 positions. Clones share a block until one
//! of them writes to it.

use std::sync::Arc;

/// Positions of a block. A state reserves whole blocks.
pub(crate) const BLOCK: usize = 32;
/// Value dimensions that are stored side by side.
pub(crate) const COLUMN: usize = 16;

/// The dimensions that a block's layout depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KvShape {
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// `head_dim` rounded up to whole columns; the padding is 0.
    pub(crate) padded_dim: usize,
}

impl KvShape {
    pub(crate) fn new(layers: usize, kv_heads: usize, head_dim: usize) -> Self {
        KvShape { layers, kv_heads, head_dim, padded_dim: head_dim.next_multiple_of(COLUMN) }
    }

    /// Numbers of one head of one layer: keys, then values.
    fn head_size(&self) -> usize {
        (self.head_dim + self.padded_dim) * BLOCK
    }

    fn block_size(&self) -> usize {
        self.layers * self.kv_heads * self.head_size()
    }

    /// Bytes of one position.
    pub(crate) fn bytes_per_position(&self) -> usize {
        self.block_size() * size_of::<f32>() / BLOCK
    }

    fn head(&self, layer: usize, head: usize) -> usize {
        (layer * self.kv_heads + head) * self.head_size()
    }
}

/// Per layer and head: keys `[head_dim, BLOCK]`, then values
/// `[padded_dim / COLUMN, BLOCK, COLUMN]`. Keys are transposed, so that a query is
/// multiplied by a whole block of positions at once.
#[derive(Debug, Clone)]
pub(crate) struct Block(Vec<f32>);

impl Block {
    /// Keys and values of a head.
    #[inline(always)]
    pub(crate) fn head(&self, shape: &KvShape, layer: usize, head: usize) -> (&[f32], &[f32]) {
        let all = &self.0[shape.head(layer, head)..][..shape.head_size()];
        all.split_at(shape.head_dim * BLOCK)
    }
}

/// The committed positions of one sequence. A clone (a fork) costs one reference count per
/// block and never changes its parent.
#[derive(Debug, Clone, Default)]
pub struct KvState {
    blocks: Vec<Arc<Block>>,
    len: usize,
}

impl KvState {
    /// Number of positions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no positions.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops every position from `len` on, if there are any.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
            self.blocks.truncate(len.div_ceil(BLOCK));
        }
    }

    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    /// Reserves room for positions up to `len`. They count once [`Self::commit`] is called.
    pub(crate) fn reserve(&mut self, shape: &KvShape, len: usize) {
        while self.blocks.len() * BLOCK < len {
            self.blocks.push(Arc::new(Block(vec![0.0; shape.block_size()])));
        }
    }

    /// Writes keys and values `[kv_heads, head_dim]` of one layer at a reserved position. A
    /// block that is shared with a clone is copied first.
    pub(crate) fn write(
        &mut self,
        shape: &KvShape,
        layer: usize,
        position: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        let block = &mut Arc::make_mut(&mut self.blocks[position / BLOCK]).0;
        let slot = position % BLOCK;
        let heads = keys.chunks_exact(shape.head_dim).zip(values.chunks_exact(shape.head_dim));
        for (head, (key, value)) in heads.enumerate() {
            let start = shape.head(layer, head);
            let (k, v) = block[start..][..shape.head_size()].split_at_mut(shape.head_dim * BLOCK);
            for (column, &x) in k.chunks_exact_mut(BLOCK).zip(key) {
                column[slot] = x;
            }
            for (column, part) in value.chunks(COLUMN).enumerate() {
                v[(column * BLOCK + slot) * COLUMN..][..part.len()].copy_from_slice(part);
            }
        }
    }

    /// Counts every position up to `len` as committed.
    pub(crate) fn commit(&mut self, len: usize) {
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KvShape = KvShape { layers: 2, kv_heads: 1, head_dim: 2, padded_dim: 16 };

    fn append(state: &mut KvState, value: f32) {
        let at = state.len();
        state.reserve(&SHAPE, at + 1);
        for layer in 0..SHAPE.layers {
            state.write(&SHAPE, layer, at, &[value, -value], &[value, value]);
        }
        state.commit(at + 1);
    }

    fn read(state: &KvState, layer: usize, position: usize) -> [f32; 3] {
        let (k, v) = state.blocks()[position / BLOCK].head(&SHAPE, layer, 0);
        let slot = position % BLOCK;
        [k[slot], k[BLOCK + slot], v[slot * COLUMN + 1]]
    }

    #[test]
    fn a_fork_never_changes_its_parent_nor_its_sibling() {
        let mut parent = KvState::default();
        for i in 0..40 {
            append(&mut parent, i as f32);
        }
        let (mut left, mut right) = (parent.clone(), parent.clone());
        left.truncate(35);
        append(&mut left, 100.0);
        append(&mut right, 200.0);
        for layer in 0..2 {
            assert_eq!(read(&parent, layer, 35), [35.0, -35.0, 35.0]);
            assert_eq!(read(&left, layer, 35), [100.0, -100.0, 100.0]);
            assert_eq!(read(&right, layer, 35), [35.0, -35.0, 35.0]);
            assert_eq!(read(&right, layer, 40), [200.0, -200.0, 200.0]);
        }
        assert_eq!((parent.len(), left.len(), right.len()), (40, 36, 41));
        assert!(Arc::ptr_eq(&parent.blocks[0], &left.blocks[0]), "the prefix is shared");
    }

    #[test]
    fn truncation_drops_blocks_and_ignores_longer_lengths() {
        let mut state = KvState::default();
        for i in 0..70 {
            append(&mut state, i as f32);
        }
        state.truncate(99);
        assert_eq!((state.len(), state.blocks.len()), (70, 3));
        state.truncate(32);
        assert_eq!((state.len(), state.blocks.len()), (32, 1));
        state.truncate(0);
        assert!(state.is_empty() && state.blocks.is_empty());
    }
}
