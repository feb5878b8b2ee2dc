//! Formats as types, so that a kernel is compiled for each.

use crate::Format;
use crate::matrix::{head_bytes, tile_bytes};

/// What kernels know of a format. Stored weights are bytes in 8 vectors, or levels of
/// 4 bits in 4 vectors; what was added to them goes by −offset·Σx.
pub(crate) trait Layout {
    const FORMAT: Format;
    /// Weights have 4 bits.
    const NIBBLES: bool = Self::FORMAT.is_nibbles();
    /// Blocks have a minimum.
    const MINIMA: bool = Self::FORMAT.has_minimum();
    /// Nothing is added to the weights.
    const PLAIN: bool = Self::NIBBLES && Self::MINIMA;
    /// Vectors of a tile.
    const VECTORS: usize = if Self::NIBBLES { 4 } else { 8 };
    /// Bytes of a tile.
    const TILE: usize = tile_bytes(Self::FORMAT);
    /// Bytes of its scales and minima.
    const HEAD: usize = head_bytes(Self::FORMAT);
}

/// [`Format::Q8_0`]
pub(crate) enum Q8 {}
/// [`Format::Q4_0`]
pub(crate) enum Q4 {}
/// [`Format::Q4K`]
pub(crate) enum Q4K {}
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

impl Layout for Q5K {
    const FORMAT: Format = Format::Q5K;
}
