//! The KV cache of one sequence, in blocks of 32 positions. Clones share a block until one
//! of them writes to it.

use std::sync::Arc;

use super::kv_block::{BLOCK, Block, KvShape};

/// The committed positions of one sequence. A clone (a fork) costs one reference count per
/// block and never changes its parent.
#[derive(Debug, Clone, Default)]
pub(crate) struct KvState {
    blocks: Vec<Arc<Block>>,
    len: usize,
}

impl KvState {
    /// Number of positions.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Drops every position from `len` on, if there are any.
    pub(crate) fn truncate(&mut self, len: usize) {
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
            self.blocks.push(Arc::new(Block::new(shape)));
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
        let block = Arc::make_mut(&mut self.blocks[position / BLOCK]);
        block.write(shape, layer, position % BLOCK, keys, values);
    }

    /// Counts every position up to `len` as committed.
    pub(crate) fn commit(&mut self, len: usize) {
        self.len = len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::kv_block::{COLUMN, Stored};
    use super::super::kv_type::KvType;

    fn shape(kind: KvType) -> KvShape {
        KvShape::new(kind, 2, 1, 2)
    }

    fn append(kind: KvType, state: &mut KvState, value: f32) {
        let (shape, at) = (shape(kind), state.len());
        state.reserve(&shape, at + 1);
        for layer in 0..shape.layers {
            state.write(&shape, layer, at, &[value, -value], &[value, value]);
        }
        state.commit(at + 1);
    }

    fn read(kind: KvType, state: &KvState, layer: usize, position: usize) -> [f32; 3] {
        let (shape, block) = (shape(kind), &state.blocks()[position / BLOCK]);
        let slot = position % BLOCK;
        let floats = |stored: Stored<'_>, len| {
            let mut floats = vec![0.0; len];
            stored.convert(&mut floats);
            floats
        };
        let k = floats(block.keys(&shape, layer, 0), 2 * BLOCK);
        let v = floats(block.values(&shape, layer, 0, 0, 1), COLUMN * BLOCK);
        // 8 bits do not hold whole numbers exactly.
        [k[slot], k[BLOCK + slot], v[slot * COLUMN + 1]].map(f32::round)
    }

    #[test]
    fn a_fork_never_changes_its_parent_nor_its_sibling() {
        for kind in KvType::ALL {
            let mut parent = KvState::default();
            for i in 0..40 {
                append(kind, &mut parent, i as f32);
            }
            let (mut left, mut right) = (parent.clone(), parent.clone());
            left.truncate(35);
            append(kind, &mut left, 100.0);
            append(kind, &mut right, 200.0);
            for layer in 0..2 {
                assert_eq!(read(kind, &parent, layer, 35), [35.0, -35.0, 35.0]);
                assert_eq!(read(kind, &left, layer, 35), [100.0, -100.0, 100.0]);
                assert_eq!(read(kind, &right, layer, 35), [35.0, -35.0, 35.0]);
                assert_eq!(read(kind, &right, layer, 40), [200.0, -200.0, 200.0]);
            }
            assert_eq!((parent.len(), left.len(), right.len()), (40, 36, 41));
            assert!(Arc::ptr_eq(&parent.blocks[0], &left.blocks[0]), "the prefix is shared");
        }
    }

    #[test]
    fn truncation_drops_blocks_and_ignores_longer_lengths() {
        let mut state = KvState::default();
        for i in 0..70 {
            append(KvType::F32, &mut state, i as f32);
        }
        state.truncate(99);
        assert_eq!((state.len(), state.blocks.len()), (70, 3));
        state.truncate(32);
        assert_eq!((state.len(), state.blocks.len()), (32, 1));
        state.truncate(0);
        assert!(state.len() == 0 && state.blocks.is_empty());
    }
}
