//! Formats as types, so that kernels are compiled for each of them.

use crate::Format;
use crate::matrix::{PANEL, head_bytes, tile_bytes};

/// The constants of a format. Stored weights are bytes in 8 vectors, or levels of 4 bits
/// in 4 vectors, with or without fifth bits. The offset added to stored weights is undone
/// by −offset·Σx.
pub(crate) trait Layout {
    const FORMAT: Format;
    /// Whether four bits of a weight are half a byte.
    const NIBBLES: bool = Self::FORMAT.is_nibbles();
    /// Whether weights have a fifth bit.
    const FIFTH: bool = Self::FORMAT.fifth_bytes() > 0;
    /// Whether blocks have a minimum.
    const MINIMA: bool = Self::FORMAT.has_minimum();
    /// Whether weights are stored without an offset.
    const PLAIN: bool = Self::NIBBLES && Self::MINIMA;
    /// Vectors of a tile.
    const VECTORS: usize = if Self::NIBBLES { 4 } else { 8 };
    /// Bytes of a tile.
    const TILE: usize = tile_bytes(Self::FORMAT);
    /// Bytes of its scales and minima.
    const HEAD: usize = head_bytes(Self::FORMAT);
    /// Offset of the masks of fifth bits in a tile.
    const MASKS: usize = Self::HEAD + 4 * PANEL * Self::VECTORS;
    /// The offset added to stored weights.
    const OFFSET: i8 = match (Self::PLAIN, Self::NIBBLES, Self::FIFTH) {
        (true, ..) => 0,
        (_, true, true) => 16,
        (_, true, false) => 8,
        // 128 as a byte.
        (_, false, _) => -128,
    };
    /// log2(128 / offset): −128·Σx shifted right by it undoes the offset.
    const SHIFT: i32 = match (Self::NIBBLES, Self::FIFTH) {
        (true, true) => 3,
        (true, false) => 4,
        (false, _) => 0,
    };
}

/// [`Format::Q8_0`]
pub(crate) enum Q8 {}
/// [`Format::Q4_0`]
pub(crate) enum Q4 {}
/// [`Format::Q4K`]
pub(crate) enum Q4K {}
/// [`Format::Q5_0`]
pub(crate) enum Q5 {}
/// [`Format::Q5K`]
pub(crate) enum Q5K {}

impl Layout for Q8 {
    const FORMAT: Format = Format::Q8_0;
}

impl Layout for Q4 {
    const FORMAT: Format = Format::Q4_0;
}

impl Layout for Q4K {
    const FORMAT: Format = Format::Q4K;
}

impl Layout for Q5 {
    const FORMAT: Format = Format::Q5_0;
}

impl Layout for Q5K {
    const FORMAT: Format = Format::Q5K;
}
