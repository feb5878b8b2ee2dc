//! A block of the KV cache: keys and values of 32 positions, all layers and heads, in the
//! numbers of one [`KvType`].

use half::f16;
use half::slice::HalfFloatSliceExt;
use tokenroute_kernels::widen;

use super::kv_eight_bits::{EightBits, Scaled};
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
    pub(super) fn head_size(&self) -> usize {
        (self.head_dim + self.padded_dim) * BLOCK
    }

    /// Heads of all layers.
    pub(super) fn heads(&self) -> usize {
        self.layers * self.kv_heads
    }

    /// The place of a layer's head among [`Self::heads`].
    #[inline(always)]
    fn head(&self, layer: usize, head: usize) -> usize {
        layer * self.kv_heads + head
    }

    /// Bytes of one position.
    pub(crate) fn bytes_per_position(&self) -> usize {
        let head = match self.kind {
            KvType::F32 => self.head_size() * size_of::<f32>(),
            KvType::F16 => self.head_size() * size_of::<f16>(),
            KvType::Q8_0 => EightBits::head_bytes(self),
        };
        self.heads() * head / BLOCK
    }
}

/// Per layer and head: keys `[head_dim, BLOCK]`, then values
/// `[padded_dim / COLUMN, BLOCK, COLUMN]`. Keys are transposed, so that a query is
/// multiplied by a whole block of positions at once.
#[derive(Debug, Clone)]
pub(crate) enum Block {
    F32(Vec<f32>),
    F16(Vec<f16>),
    Q8(EightBits),
}

/// Some numbers of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stored<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Q8(Scaled<'a>),
}

impl<'a> Stored<'a> {
    /// The numbers, if they need no conversion.
    #[inline(always)]
    pub(crate) fn as_f32(self) -> Option<&'a [f32]> {
        match self {
            Stored::F32(numbers) => Some(numbers),
            Stored::F16(_) | Stored::Q8(_) => None,
        }
    }

    /// Writes the numbers as f32. Those of f16 are exact.
    pub(crate) fn convert(self, out: &mut [f32]) {
        match self {
            Stored::F32(numbers) => out.copy_from_slice(numbers),
            Stored::F16(numbers) => widen(numbers, out),
            Stored::Q8(scaled) => scaled.convert(out),
        }
    }
}

impl Block {
    pub(crate) fn new(shape: &KvShape) -> Self {
        let size = shape.heads() * shape.head_size();
        match shape.kind {
            KvType::F32 => Block::F32(vec![0.0; size]),
            KvType::F16 => Block::F16(vec![f16::ZERO; size]),
            KvType::Q8_0 => Block::Q8(EightBits::new(shape)),
        }
    }

    /// The keys of a head `[head_dim, BLOCK]`.
    #[inline(always)]
    pub(crate) fn keys(&self, shape: &KvShape, layer: usize, head: usize) -> Stored<'_> {
        let head = shape.head(layer, head);
        let (from, len) = (head * shape.head_size(), shape.head_dim * BLOCK);
        match self {
            Block::F32(numbers) => Stored::F32(&numbers[from..][..len]),
            Block::F16(numbers) => Stored::F16(&numbers[from..][..len]),
            Block::Q8(eight_bits) => Stored::Q8(eight_bits.keys(shape, head)),
        }
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
        let head = shape.head(layer, head);
        let from = head * shape.head_size() + (shape.head_dim + first * COLUMN) * BLOCK;
        let len = count * BLOCK * COLUMN;
        match self {
            Block::F32(numbers) => Stored::F32(&numbers[from..][..len]),
            Block::F16(numbers) => Stored::F16(&numbers[from..][..len]),
            Block::Q8(eight_bits) => Stored::Q8(eight_bits.values(shape, head, first, count)),
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
            let head = shape.head(layer, head);
            let (start, size) = (head * shape.head_size(), shape.head_size());
            match self {
                Block::F32(all) => {
                    let head = &mut all[start..][..size];
                    put(shape, head, slot, key, value, <[f32]>::copy_from_slice);
                }
                Block::F16(all) => {
                    put(shape, &mut all[start..][..size], slot, key, value, round_to_f16);
                }
                Block::Q8(eight_bits) => eight_bits.write(shape, head, slot, key, value),
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
pub(super) fn put<T: Copy + Default, X>(
    shape: &KvShape,
    head: &mut [T],
    slot: usize,
    key: &[X],
    value: &[X],
    round: impl Fn(&mut [T], &[X]),
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
