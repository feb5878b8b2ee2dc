//! Rows of activations as AMX's tiles take them, and whether AMX may be used.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::mem::offset_of;
use std::sync::OnceLock;

use crate::{BLOCK, Isa, Pool};

/// Rows of a tile.
pub(crate) const ROWS: usize = 12;
/// Rows from which on tiles pay.
const MANY: usize = 4 * ROWS;
/// 64 bytes, a tile's row: as bf16.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [u16; BLOCK]);

/// A block of inputs of [`ROWS`] rows.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(crate) struct Tile {
    /// The integers, which are exact in bf16.
    quants: [Line; ROWS],
    scales: [f32; 16],
}

/// Where the scales of a tile are.
pub(crate) const SCALES: usize = offset_of!(Tile, scales);

/// Activations once more, by blocks of [`ROWS`] rows. Rows beyond the last hold
/// anything.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tiles {
    /// Blocks of rows; 0 if the rows are too few for tiles.
    pub rows: usize,
    /// Blocks of inputs, an even number: the last may have the scale 0.
    pub blocks: usize,
    /// `[block of rows, block]`; one block of rows more than there is.
    pub tiles: Vec<Tile>,
}

impl Tiles {
    /// Takes rows over, if tiles are to be used; else there are none. `quants` is
    /// `[rows, blocks, 32]`, `scales` `[rows, blocks]`.
    pub(crate) fn fill(&mut self, pool: &Pool, rows: usize, quants: &[i8], scales: &[f32]) {
        let wanted = pool.isa() == Isa::Amx && rows >= MANY;
        self.rows = if wanted { rows.div_ceil(ROWS) } else { 0 };
        if !wanted {
            return;
        }
        let blocks = scales.len() / rows;
        self.blocks = blocks.next_multiple_of(2);
        // Nothing shrinks: what lies beyond the rows costs time to clear alone.
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

/// Whether the machine has the instructions and the system lets this process use
/// their state, which it is asked once.
pub(crate) fn available() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| present() && permitted())
}

/// AMX-TILE and AMX-BF16 (Intel SDM, volume 2, `CPUID`), both parts of their state
/// switched on by the system.
fn present() -> bool {
    const BF16: u32 = 1 << 22;
    const TILE: u32 = 1 << 24;
    const STATE: u64 = 3 << 17;
    if !is_x86_feature_detected!("xsave") || __cpuid(0).eax < 7 {
        return false;
    }
    // SAFETY: `xsave` has just been found, and register 0 is there with it.
    let enabled = unsafe { enabled() };
    __cpuid_count(7, 0).edx & (TILE | BF16) == TILE | BF16 && enabled & STATE == STATE
}

#[target_feature(enable = "xsave")]
fn enabled() -> u64 {
    // SAFETY: register 0 is on every machine with the instruction.
    unsafe { _xgetbv(0) }
}

/// Linux hands out the tiles' state to processes that ask (its
/// Documentation/arch/x86/xstate.rst).
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XFEATURE_XTILEDATA: i64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call takes two numbers and touches no memory of this process.
    unsafe {
        asm!(
            "syscall",
            inout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}
