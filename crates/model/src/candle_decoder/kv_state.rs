//! The KV cache of one sequence: blocks of positions, each a tensor that never changes.

use candle_core::{Result, Tensor};

/// Most positions of a block. What is appended is copied into the last block, so a fork that
/// goes on holds up to a block of its own.
const BLOCK: usize = 64;

/// The committed positions of one sequence. Tensors are reference counted and never written
/// to, so a clone shares all of them and never changes its parent.
#[derive(Debug, Clone, Default)]
pub(crate) struct CandleState {
    /// `[positions, layers, keys then values]`. Each holds `BLOCK` positions; of the last one,
    /// those from `len` on do not count.
    blocks: Vec<Tensor>,
    len: usize,
}

impl CandleState {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
            self.blocks.truncate(len.div_ceil(BLOCK));
        }
    }

    /// The committed positions as tensors `[positions, layers, keys then values]`, in order.
    pub(super) fn parts(&self) -> Result<Vec<Tensor>> {
        let mut left = self.len;
        let part = |block: &Tensor| {
            let here = left.min(BLOCK);
            left -= here;
            block.narrow(0, 0, here)
        };
        self.blocks.iter().map(part).collect()
    }

    /// Appends positions `[positions, layers, keys then values]`, which are copied.
    pub(super) fn append(&mut self, new: &Tensor) -> Result<()> {
        let count = new.dim(0)?;
        let mut taken = 0;
        let held = self.len % BLOCK;
        if held > 0
            && let Some(last) = self.blocks.last_mut()
        {
            taken = count.min(BLOCK - held);
            *last = Tensor::cat(&[&last.narrow(0, 0, held)?, &new.narrow(0, 0, taken)?], 0)?;
        }
        while taken < count {
            let here = (count - taken).min(BLOCK);
            // A copy, since a view would keep all rows of the pass.
            self.blocks.push(new.narrow(0, taken, here)?.force_contiguous()?);
            taken += here;
        }
        self.len += count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn positions(values: std::ops::Range<u32>) -> Tensor {
        let values: Vec<f32> = values.map(|value| value as f32).collect();
        let count = values.len();
        Tensor::from_vec(values, (count, 1, 1), &Device::Cpu).expect("a tensor")
    }

    fn values(state: &CandleState) -> Vec<f32> {
        let parts = state.parts().expect("parts");
        parts
            .iter()
            .flat_map(|part| part.flatten_all().and_then(|p| p.to_vec1::<f32>()).expect("numbers"))
            .collect()
    }

    fn numbers(range: std::ops::Range<u32>) -> Vec<f32> {
        range.map(|value| value as f32).collect()
    }

    #[test]
    fn a_fork_never_changes_its_parent_nor_its_sibling() {
        let mut parent = CandleState::default();
        for count in [1, 30, 2, 64, 3] {
            let from = parent.len() as u32;
            parent.append(&positions(from..from + count)).expect("room");
        }
        let (mut left, mut right) = (parent.clone(), parent.clone());
        left.truncate(70);
        left.append(&positions(500..650)).expect("room");
        right.append(&positions(900..901)).expect("room");
        assert_eq!(values(&parent), numbers(0..100));
        assert_eq!(values(&left), [numbers(0..70), numbers(500..650)].concat());
        assert_eq!(values(&right), [numbers(0..100), numbers(900..901)].concat());
    }

    #[test]
    fn truncation_drops_blocks_and_ignores_longer_lengths() {
        let mut state = CandleState::default();
        state.append(&positions(0..200)).expect("room");
        state.truncate(300);
        assert_eq!((state.len(), state.blocks.len()), (200, 4));
        state.truncate(128);
        assert_eq!((state.len(), state.blocks.len()), (128, 2));
        state.append(&positions(7..8)).expect("room");
        assert_eq!(values(&state), [numbers(0..128), numbers(7..8)].concat());
        state.truncate(0);
        assert!(state.blocks.is_empty() && values(&state).is_empty());
    }
}
