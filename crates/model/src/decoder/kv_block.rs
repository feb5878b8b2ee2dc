//! A block of the KV cache: keys and values of 32 positions, all layers and heads, in the
//! numbers of one [`KvType`].

use half::f16;
use half::slice::HalfFloatSliceExt;
use tokenroute_kernels::widen;

use super::kv_type::KvType;

/// Positions of a block. A state reserves whole blocks.
pub(crate) const BLOCK: usize = 32;
/// Value dimensions that are stored side by side.
pub(crate) const COLUMN: usize = 16;

/// What a block's layout depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KvShape {
    pub(crate) kind: KvType,
    pub(crate) layers: usize,
    pub(crate) kv_heads: usize,
    pub(crate) head_dim: usize,
    /// `head_dim` rounded up to whole columns; the padding is 0.
    pub(crate) padded_dim: usize,
}

impl KvShape {
    pub(crate) fn new(kind: KvType, layers: usize, kv_heads: usize, head_dim: usize) -> Self {
        let padded_dim = head_dim.next_multiple_of(COLUMN);
        KvShape { kind, layers, kv_heads, head_dim, padded_dim }
    }

    /// Numbers of one head of one layer: keys, then values.
    fn head_size(&self) -> usize {
        (self.head_dim + self.padded_dim) * BLOCK
    }

    fn block_size(&self) -> usize {
        self.layers * self.kv_heads * self.head_size()
    }

    fn head(&self, layer: usize, head: usize) -> usize {
        (layer * self.kv_heads + head) * self.head_size()
    }

    /// Bytes of one position.
    pub(crate) fn bytes_per_position(&self) -> usize {
        let number = match self.kind {
            KvType::F32 => size_of::<f32>(),
            KvType::F16 => size_of::<f16>(),
        };
        self.block_size() * number / BLOCK
    }
}

/// Per layer and head: keys `[head_dim, BLOCK]`, then values
/// `[padded_dim / COLUMN, BLOCK, COLUMN]`. Keys are transposed, so that a query is
/// multiplied by a whole block of positions at once.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    F32(Vec<f32>),
    F16(Vec<f16>),
}

/// Some numbers of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stored<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
}

impl<'a> Stored<'a> {
    /// The numbers, if they need no conversion.
    #[inline(always)]
    pub(crate) fn as_f32(self) -> Option<&'a [f32]> {
        match self {
            Stored::F32(numbers) => Some(numbers),
            Stored::F16(_) => None,
        }
    }

    /// Writes the numbers as f32, each exactly.
    pub(crate) fn convert(self, out: &mut [f32]) {
        match self {
            Stored::F32(numbers) => out.copy_from_slice(numbers),
            Stored::F16(numbers) => widen(numbers, out),
        }
    }
}

impl Block {
    pub(crate) fn new(shape: &KvShape) -> Self {
        let size = shape.block_size();
        match shape.kind {
            KvType::F32 => Block::F32(vec![0.0; size]),
            KvType::F16 => Block::F16(vec![f16::ZERO; size]),
        }
    }

    /// The keys of a head `[head_dim, BLOCK]`.
    #[inline(always)]
    pub(crate) fn keys(&self, shape: &KvShape, layer: usize, head: usize) -> Stored<'_> {
        self.stored(shape.head(layer, head), shape.head_dim * BLOCK)
    }

    /// `count` columns of a head's values, from `first` on: `[count, BLOCK, COLUMN]`.
    #[inline(always)]
    pub(crate) fn values(
        &self,
        shape: &KvShape,
        layer: usize,
        head: usize,
        first: usize,
        count: usize,
    ) -> Stored<'_> {
        let values = shape.head(layer, head) + shape.head_dim * BLOCK;
        self.stored(values + first * BLOCK * COLUMN, count * BLOCK * COLUMN)
    }

    #[inline(always)]
    fn stored(&self, from: usize, len: usize) -> Stored<'_> {
        match self {
            Block::F32(numbers) => Stored::F32(&numbers[from..][..len]),
            Block::F16(numbers) => Stored::F16(&numbers[from..][..len]),
        }
    }

    /// Writes keys and values `[kv_heads, head_dim]` of one layer and position.
    pub(crate) fn write(
        &mut self,
        shape: &KvShape,
        layer: usize,
        slot: usize,
        keys: &[f32],
        values: &[f32],
    ) {
        let heads = keys.chunks_exact(shape.head_dim).zip(values.chunks_exact(shape.head_dim));
        for (head, (key, value)) in heads.enumerate() {
            let start = shape.head(layer, head);
            match self {
                Block::F32(all) => {
                    let head = &mut all[start..][..shape.head_size()];
                    put(shape, head, slot, key, value, <[f32]>::copy_from_slice);
                }
                Block::F16(all) => {
                    let head = &mut all[start..][..shape.head_size()];
                    put(shape, head, slot, key, value, round_to_f16);
                }
            }
        }
    }
}

/// Rounds to nearest even. A number that f16 does not hold is NaN, so that its feed fails.
fn round_to_f16(out: &mut [f16], numbers: &[f32]) {
    out.convert_from_f32_slice(numbers);
    for x in out.iter_mut().filter(|x| !x.is_finite()) {
        *x = f16::NAN;
    }
}

/// Puts a position's key and value `[head_dim]` into a head's numbers, rounded by `round`.
fn put<T: Copy + Default>(
    shape: &KvShape,
    head: &mut [T],
    slot: usize,
    key: &[f32],
    value: &[f32],
    round: impl Fn(&mut [T], &[f32]),
) {
    let (keys, values) = head.split_at_mut(shape.head_dim * BLOCK);
    let mut rounded = [T::default(); COLUMN];
    for (part, columns) in key.chunks(COLUMN).zip(keys.chunks_mut(COLUMN * BLOCK)) {
        let rounded = &mut rounded[..part.len()];
        round(rounded, part);
        for (column, &x) in columns.chunks_exact_mut(BLOCK).zip(&*rounded) {
            column[slot] = x;
        }
    }
    for (column, part) in value.chunks(COLUMN).enumerate() {
        round(&mut values[(column * BLOCK + slot) * COLUMN..][..part.len()], part);
    }
}
