//! Packed weights: panels of 16 outputs, each a run of tiles of 16 x 32 weights.
//!
//! A tile begins with 16 f16 scales; Q4_K and Q5_K add 16 f16 minima. Vectors of 64 bytes
//! follow, each with 4 consecutive columns of 16 outputs:
//! - Q8_0 stores its integers + 128 in 8 vectors (columns 4v..4v+4).
//! - Q4_0 stores weight + 8 and Q4_K its levels, in 4 vectors (columns 4v.. in the low,
//!   16 + 4v.. in the high halves of the bytes).
//! - Q5_0 stores weight + 16 and Q5_K its levels: four bits as Q4_0 does, then 8 masks of
//!   64 fifth bits. Bit 4o + c of mask v belongs to column 4v + c of output o.
//!
//! Outputs beyond the last have the scale 0.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;

use half::f16;

use crate::packed_memory::{PackedBytes, fill_chunks};
use crate::product::layout::{Layout, Q4, Q4K, Q5, Q5K, Q8};
use crate::{BLOCK, Format, KernelError, Pool};

/// Outputs of a panel.
pub(crate) const PANEL: usize = 16;
/// Bytes of a tile's scales, and of its minima.
pub(crate) const SCALES: usize = 2 * PANEL;

/// A quantised weight matrix `[outputs, inputs]`, packed for the kernels. The
/// packing is the same for every instruction set.
#[derive(Debug)]
pub struct QuantMatrix {
    format: Format,
    outputs: usize,
    inputs: usize,
    blocks: usize,
    packed: PackedBytes,
}

impl QuantMatrix {
    /// Quantises a matrix given row by row: `row(o, out)` fills `out` `[inputs]` with
    /// the weights of output `o`. The pool's threads call it, so the f32 weights are never
    /// in memory as a whole. Inputs that are not a multiple of 32 are padded with zeros.
    ///
    /// # Errors
    /// An empty or unaddressable shape, weights that are not finite or too large.
    pub fn from_rows(
        pool: &Pool,
        format: Format,
        outputs: usize,
        inputs: usize,
        row: impl Fn(usize, &mut [f32]) + Sync,
    ) -> Result<Self, KernelError> {
        let blocks = inputs.div_ceil(BLOCK);
        QuantMatrix::pack(pool, format, outputs, inputs, |panel, tiles| {
            let mut weights = vec![0.0; inputs];
            let mut quantised = Vec::with_capacity(blocks * format.block_bytes());
            for (lane, o) in panel.enumerate() {
                row(o, &mut weights);
                quantised.clear();
                format.quantise(&weights, &mut quantised);
                pack_row(format, o, lane, &quantised, tiles)?;
            }
            Ok(())
        })
    }

    /// Quantises row-major f32 weights `[outputs, inputs]`.
    ///
    /// # Errors
    /// As [`QuantMatrix::from_rows`], and a length that does not fit.
    pub fn from_f32(
        pool: &Pool,
        format: Format,
        outputs: usize,
        inputs: usize,
        weights: &[f32],
    ) -> Result<Self, KernelError> {
        check("weights", weights.len(), outputs.saturating_mul(inputs))?;
        QuantMatrix::from_rows(pool, format, outputs, inputs, |o, row| {
            row.copy_from_slice(&weights[o * inputs..][..inputs]);
        })
    }

    /// Repacks ggml blocks (a GGUF tensor's bytes), bit for bit. Several parts are
    /// stacked, in order: query, key and value projections become one matrix.
    ///
    /// # Errors
    /// Rows that are not whole blocks, a part that is not whole rows, a scale that is
    /// not finite.
    pub fn from_blocks(
        pool: &Pool,
        format: Format,
        inputs: usize,
        parts: &[&[u8]],
    ) -> Result<Self, KernelError> {
        let row_bytes = row_bytes(format, inputs)?;
        let mut rows = Vec::new();
        for part in parts {
            if row_bytes == 0 || !part.len().is_multiple_of(row_bytes) {
                let expected = part.len().next_multiple_of(row_bytes.max(1));
                return Err(KernelError::Length {
                    what: "a tensor's bytes",
                    found: part.len(),
                    expected,
                });
            }
            rows.extend(part.chunks_exact(row_bytes));
        }
        QuantMatrix::from_block_rows(pool, format, rows.len(), inputs, |o| rows[o].into())
    }

    /// [`QuantMatrix::from_blocks`] for rows that are not contiguous: `row(o)` gives the
    /// blocks of output `o`.
    ///
    /// # Errors
    /// As [`QuantMatrix::from_blocks`].
    pub fn from_block_rows<'b>(
        pool: &Pool,
        format: Format,
        outputs: usize,
        inputs: usize,
        row: impl Fn(usize) -> Cow<'b, [u8]> + Sync,
    ) -> Result<Self, KernelError> {
        let row_bytes = row_bytes(format, inputs)?;
        QuantMatrix::pack(pool, format, outputs, inputs, |panel, tiles| {
            for (lane, o) in panel.enumerate() {
                let blocks = row(o);
                check("a row's bytes", blocks.len(), row_bytes)?;
                pack_row(format, o, lane, &blocks, tiles)?;
            }
            Ok(())
        })
    }

    fn pack(
        pool: &Pool,
        format: Format,
        outputs: usize,
        inputs: usize,
        fill: impl Fn(Range<usize>, &mut [u8]) -> Result<(), KernelError> + Sync,
    ) -> Result<Self, KernelError> {
        let blocks = inputs.div_ceil(BLOCK);
        let panels = outputs.div_ceil(PANEL);
        let bytes = tile_bytes(format).checked_mul(blocks).and_then(|b| b.checked_mul(panels));
        let Some(bytes) = bytes.filter(|&b| b > 0 && b <= isize::MAX as usize) else {
            return Err(KernelError::Size { outputs, inputs });
        };
        let mut packed = pool.memory().zeroed(bytes)?;
        let failed = OnceLock::new();
        fill_chunks(pool, &mut packed, bytes / panels, |panel, tiles| {
            let outputs = panel * PANEL..outputs.min((panel + 1) * PANEL);
            if failed.get().is_none()
                && let Err(error) = fill(outputs, tiles)
            {
                // One error is enough; any of several will do.
                let _ = failed.set(error);
            }
        });
        match failed.into_inner() {
            Some(error) => Err(error),
            None => Ok(QuantMatrix { format, outputs, inputs, blocks, packed }),
        }
    }

    /// The format of the weights.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Rows of the matrix.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes that a product reads.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.panels() * self.panel_bytes()
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    pub(crate) fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    pub(crate) fn panel_bytes(&self) -> usize {
        self.blocks * tile_bytes(self.format)
    }

    pub(crate) fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Appends the ggml blocks of a row to `out`, as [`QuantMatrix::from_blocks`] takes
    /// them.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_blocks(&self, output: usize, out: &mut Vec<u8>) {
        assert!(output < self.outputs, "row {output} of {}", self.outputs);
        let (panel, lane) = (output / PANEL, output % PANEL);
        let panel = &self.packed[panel * self.panel_bytes()..][..self.panel_bytes()];
        let flip = if self.format.is_nibbles() { 0 } else { 0x80 };
        for tile in panel.chunks_exact(tile_bytes(self.format)) {
            let (heads, quants) = tile.split_at(head_bytes(self.format));
            heads.chunks_exact(SCALES).for_each(|head| out.extend(&head[2 * lane..][..2]));
            let (vectors, masks) =
                quants.split_at(quants.len() - PANEL * self.format.fifth_bytes());
            let fifth = |v: usize| masks[8 * v + lane / 2] >> (4 * (lane % 2)) & 15;
            out.extend(
                (0..self.format.fifth_bytes()).map(|i| fifth(2 * i) | fifth(2 * i + 1) << 4),
            );
            for vector in vectors.chunks_exact(4 * PANEL) {
                out.extend(vector[4 * lane..][..4].iter().map(|q| q ^ flip));
            }
        }
    }

    /// Writes the weights of a row to `out` `[inputs]` as f32.
    ///
    /// # Panics
    /// If there is no such row or `out` has another length.
    pub fn dequantise_row(&self, output: usize, out: &mut [f32]) {
        assert_eq!(out.len(), self.inputs, "a row of weights");
        let mut blocks = Vec::with_capacity(self.blocks * self.format.block_bytes());
        self.row_blocks(output, &mut blocks);
        self.format.dequantise(&blocks, out);
    }
}

/// Bytes of a row of ggml blocks.
fn row_bytes(format: Format, inputs: usize) -> Result<usize, KernelError> {
    if !inputs.is_multiple_of(BLOCK) {
        return Err(KernelError::PartialBlock { inputs });
    }
    Ok(inputs / BLOCK * format.block_bytes())
}

/// Bytes of a tile.
pub(crate) const fn tile_bytes(format: Format) -> usize {
    PANEL * format.block_bytes()
}

/// Bytes of a tile's scales and minima.
pub(crate) const fn head_bytes(format: Format) -> usize {
    PANEL * format.head_bytes()
}

/// Spreads the blocks of output `row` over lane `lane` of its panel's tiles.
fn pack_row(
    format: Format,
    row: usize,
    lane: usize,
    blocks: &[u8],
    tiles: &mut [u8],
) -> Result<(), KernelError> {
    match format {
        Format::Q8_0 => pack_row_as::<Q8>(row, lane, blocks, tiles),
        Format::Q4_0 => pack_row_as::<Q4>(row, lane, blocks, tiles),
        Format::Q4K => pack_row_as::<Q4K>(row, lane, blocks, tiles),
        Format::Q5_0 => pack_row_as::<Q5>(row, lane, blocks, tiles),
        Format::Q5K => pack_row_as::<Q5K>(row, lane, blocks, tiles),
    }
}

fn pack_row_as<L: Layout>(
    row: usize,
    lane: usize,
    blocks: &[u8],
    tiles: &mut [u8],
) -> Result<(), KernelError> {
    let flip = if L::NIBBLES { 0 } else { 0x8080_8080 };
    let blocks = blocks.chunks_exact(L::FORMAT.block_bytes());
    for (index, (block, tile)) in blocks.zip(tiles.chunks_exact_mut(L::TILE)).enumerate() {
        let (head, quants) = block.split_at(L::FORMAT.head_bytes());
        let (fifth, quants) = quants.split_at(L::FORMAT.fifth_bytes());
        let (heads, vectors) = tile.split_at_mut(L::HEAD);
        let (vectors, masks) = vectors.split_at_mut(4 * PANEL * L::VECTORS);
        for (half, place) in head.as_chunks::<2>().0.iter().zip(heads.chunks_exact_mut(SCALES)) {
            let value = f16::from_le_bytes(*half);
            if !value.is_finite() {
                return Err(KernelError::NotFinite { row, block: index, value: value.to_f32() });
            }
            place[2 * lane..][..2].copy_from_slice(half);
        }
        for (vector, quants) in vectors.chunks_exact_mut(4 * PANEL).zip(quants.as_chunks().0) {
            let columns = u32::from_ne_bytes(*quants) ^ flip;
            vector[4 * lane..][..4].copy_from_slice(&columns.to_ne_bytes());
        }
        // A byte of fifth bits belongs to two masks, where an output has half a byte.
        for (masks, fifth) in masks.chunks_exact_mut(16).zip(fifth) {
            for (mask, four) in [(0, fifth & 15), (8, fifth >> 4)] {
                masks[mask + lane / 2] |= four << (4 * (lane % 2));
            }
        }
    }
    Ok(())
}

pub(crate) fn check(what: &'static str, found: usize, expected: usize) -> Result<(), KernelError> {
    if found == expected { Ok(()) } else { Err(KernelError::Length { what, found, expected }) }
}
