//! Keys and values in 8 bits: Q8_0, one f16 scale for 32 dimensions of a position.

use half::f16;
use pulp::{Simd, WithSimd};
use tokenroute_kernels::widen;

use super::kv_block::{BLOCK, COLUMN, KvShape, put};
use super::linear::arch;

/// Dimensions that share a scale.
const GROUP: usize = 32;

/// The numbers of a block in [`KvShape`]'s layout. Per head of a layer there are scales of
/// keys, then of values, each `[groups, BLOCK]`.
#[derive(Debug, Clone)]
pub(crate) struct EightBits {
    numbers: Vec<i8>,
    scales: Vec<f16>,
}

/// Some numbers with their scales.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scaled<'a> {
    numbers: &'a [i8],
    /// From the group of the first number on, `[groups, BLOCK]`.
    scales: &'a [f16],
    /// The first column of values; `None` for keys.
    column: Option<usize>,
}

/// Groups of a head's keys, and of its values.
fn groups(shape: &KvShape) -> usize {
    shape.head_dim.div_ceil(GROUP)
}

impl EightBits {
    pub(super) fn new(shape: &KvShape) -> Self {
        EightBits {
            numbers: vec![0; shape.heads() * shape.head_size()],
            scales: vec![f16::ZERO; shape.heads() * 2 * groups(shape) * BLOCK],
        }
    }

    /// Bytes of a head.
    pub(super) fn head_bytes(shape: &KvShape) -> usize {
        shape.head_size() + 2 * groups(shape) * BLOCK * size_of::<f16>()
    }

    /// The keys of a head.
    pub(super) fn keys(&self, shape: &KvShape, head: usize) -> Scaled<'_> {
        Scaled {
            numbers: &self.numbers[head * shape.head_size()..][..shape.head_dim * BLOCK],
            scales: &self.scales[2 * head * groups(shape) * BLOCK..][..groups(shape) * BLOCK],
            column: None,
        }
    }

    /// `count` columns of a head's values, from `first` on.
    pub(super) fn values(
        &self,
        shape: &KvShape,
        head: usize,
        first: usize,
        count: usize,
    ) -> Scaled<'_> {
        let from = head * shape.head_size() + (shape.head_dim + first * COLUMN) * BLOCK;
        let scales = (2 * head + 1) * groups(shape) * BLOCK;
        Scaled {
            numbers: &self.numbers[from..][..count * BLOCK * COLUMN],
            scales: &self.scales[scales..][..groups(shape) * BLOCK],
            column: Some(first),
        }
    }

    /// Writes the key and the value of one position.
    pub(super) fn write(
        &mut self,
        shape: &KvShape,
        head: usize,
        slot: usize,
        key: &[f32],
        value: &[f32],
    ) {
        let size = groups(shape) * BLOCK;
        let scales = &mut self.scales[2 * head * size..][..2 * size];
        let (of_keys, of_values) = scales.split_at_mut(size);
        let (key, value) = (rounded(key, of_keys, slot), rounded(value, of_values, slot));
        let numbers = &mut self.numbers[head * shape.head_size()..][..shape.head_size()];
        put(shape, numbers, slot, &key, &value, <[i8]>::copy_from_slice);
    }
}

/// The 8 bits of a position's numbers. Writes their scales.
fn rounded(numbers: &[f32], scales: &mut [f16], slot: usize) -> Vec<i8> {
    let mut out = Vec::with_capacity(numbers.len());
    for (group, scales) in numbers.chunks(GROUP).zip(scales.chunks_exact_mut(BLOCK)) {
        let most = group.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let scale = f16::from_f32(most / 127.0);
        // The scale of numbers that 8 bits do not hold is NaN, so that their feed fails.
        let held = scale.is_finite() && group.iter().all(|x| x.is_finite());
        scales[slot] = if held { scale } else { f16::NAN };
        let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
        out.extend(group.iter().map(|x| (x * inverse).round_ties_even() as i8));
    }
    out
}

impl Scaled<'_> {
    /// Writes number · scale.
    pub(super) fn convert(self, out: &mut [f32]) {
        arch().dispatch(Convert { scaled: self, out });
    }
}

struct Convert<'a, 'b> {
    scaled: Scaled<'a>,
    out: &'b mut [f32],
}

impl WithSimd for Convert<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Scaled { numbers, scales, column } = self.scaled;
        let scales = scales.as_chunks::<BLOCK>().0;
        let mut floats = [0.0; BLOCK];
        match column {
            None => {
                let keys = numbers.as_chunks::<BLOCK>().0.iter();
                let out = self.out.as_chunks_mut::<BLOCK>().0.iter_mut();
                for (d, (numbers, out)) in keys.zip(out).enumerate() {
                    if d % GROUP == 0 {
                        widen(&scales[d / GROUP], &mut floats);
                    }
                    for ((out, &number), scale) in out.iter_mut().zip(numbers).zip(&floats) {
                        *out = f32::from(number) * scale;
                    }
                }
            }
            Some(first) => {
                let values = numbers.as_chunks::<COLUMN>().0.chunks_exact(BLOCK);
                let out = self.out.as_chunks_mut::<COLUMN>().0.chunks_exact_mut(BLOCK);
                for (column, (numbers, out)) in values.zip(out).enumerate() {
                    widen(&scales[(first + column) * COLUMN / GROUP], &mut floats);
                    for ((out, numbers), scale) in out.iter_mut().zip(numbers).zip(&floats) {
                        for (out, &number) in out.iter_mut().zip(numbers) {
                            *out = f32::from(number) * scale;
                        }
                    }
                }
            }
        }
    }
}
