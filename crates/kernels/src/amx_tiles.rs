//! Rows of activations in the layout of AMX tiles.
#![allow(unsafe_code)]

use std::mem::offset_of;

use crate::{BLOCK, Isa, Pool};

/// Rows of a tile.
pub(crate) const ROWS: usize = 12;
/// Rows from which tiles pay off.
const MANY: usize = 4 * ROWS;
/// A row of a tile: 64 bytes, 32 numbers in bf16.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [u16; BLOCK]);

/// A block of inputs of [`ROWS`] rows.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Tile {
    /// The activations' integers, which are exact in bf16.
    quants: [Line; ROWS],
    scales: [f32; 16],
}

/// Offset of a tile's scales in bytes.
pub(crate) const SCALES: usize = offset_of!(Tile, scales);

/// A second copy of the activations, by blocks of [`ROWS`] rows. Rows beyond the last
/// hold arbitrary values.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tiles {
    /// Blocks of rows; 0 if there are too few rows for tiles.
    pub rows: usize,
    /// Blocks of inputs, an even number; the last may be padding with scale 0.
    pub blocks: usize,
    /// `[block of rows, block]`, with one spare block of rows at the end.
    pub tiles: Vec<Tile>,
}

impl Tiles {
    /// Copies the rows where tiles will be used; elsewhere `rows` becomes 0. `quants` is
    /// `[rows, blocks, 32]`, `scales` is `[rows, blocks]`.
    pub(crate) fn fill(&mut self, pool: &Pool, rows: usize, quants: &[i8], scales: &[f32]) {
        let wanted = pool.isa() == Isa::Amx && rows >= MANY;
        self.rows = if wanted { rows.div_ceil(ROWS) } else { 0 };
        if !wanted {
            return;
        }
        let blocks = scales.len() / rows;
        self.blocks = blocks.next_multiple_of(2);
        // The buffer never shrinks, since growing it again would clear it again.
        let len = (self.rows + 1) * self.blocks;
        if self.tiles.len() < len {
            self.tiles.resize(len, Tile { quants: [Line([0; BLOCK]); ROWS], scales: [0.0; 16] });
        }
        let quants = quants.as_chunks::<BLOCK>().0;
        let tiles = &mut self.tiles[..self.rows * self.blocks];
        pool.chunks_mut(tiles, self.blocks, |part, tiles| {
            let rows = part * ROWS * blocks..rows.min((part + 1) * ROWS) * blocks;
            // SAFETY: the pool's machine has AMX, and with it AVX-512.
            unsafe { fill(tiles, &quants[rows.clone()], &scales[rows], blocks) };
        });
    }
}

/// Tiles of one block of rows: `quants` and `scales` are `[row, block]`.
#[target_feature(enable = "avx512f,avx512bw")]
fn fill(tiles: &mut [Tile], quants: &[[i8; BLOCK]], scales: &[f32], blocks: usize) {
    for (b, tile) in tiles.iter_mut().enumerate() {
        if b == blocks {
            tile.scales = [0.0; 16];
            continue;
        }
        let rows = quants[b..].iter().step_by(blocks).zip(scales[b..].iter().step_by(blocks));
        for ((quants, scale), (line, place)) in
            rows.zip(tile.quants.iter_mut().zip(&mut tile.scales))
        {
            *place = *scale;
            for (to, from) in line.0.iter_mut().zip(quants) {
                *to = (f32::from(*from).to_bits() >> 16) as u16;
            }
        }
    }
}
