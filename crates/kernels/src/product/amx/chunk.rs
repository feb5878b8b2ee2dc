//! Multiplies a chunk of weights by blocks of rows with AMX, in assembly. Tiles run two
//! blocks of inputs ahead of the sums in registers; their results pass through memory.
#![allow(unsafe_code)]

use std::arch::asm;
use std::mem::{MaybeUninit, offset_of};
use std::ops::Range;

use super::super::job::Job;
use crate::amx_tiles::{Line, ROWS, SCALES, Tile};
use crate::matrix::PANEL;

/// Panels that are multiplied together.
pub(crate) const PANELS: usize = 2;
/// Lines of a panel's weights of a block.
pub(crate) const TILE: usize = 16;
/// Lines of a block of both panels: scales as f32, then weights as bf16.
pub(crate) const LINES: usize = PANELS * (1 + TILE);
// The numbers in the loop below.
const _: () = assert!(ROWS == 12 && LINES * 64 == 2176 && size_of::<Tile>() == 832);

/// Sums of a block of outputs, `[row, panel, output]`.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Sums(pub [[[f32; PANEL]; PANELS]; ROWS]);

/// The sums before the first chunk.
pub(crate) static ZERO: Sums = Sums([[[0.0; PANEL]; PANELS]; ROWS]);

/// Values of the loop for which there are no registers.
#[repr(C)]
struct Frame {
    /// The integers of two blocks, as floats.
    integers: MaybeUninit<[Sums; 2]>,
    weights: *const Line,
    /// Bytes from the end of one block of rows to the start of the next.
    next_x: usize,
    pairs: usize,
    /// Bytes from a block of rows to the next in the source of the sums.
    next_from: usize,
    /// Bytes from a row to the next in the destination of the sums.
    next_row: usize,
}

/// Loads all sums. Prefetches their destination, from `{next}` on and `{left}` bytes from
/// row to row, so that the stores do not wait for each other.
macro_rules! load_sums {
    ($($row:literal $other:literal)*) => {
        concat!($(
            "vmovaps zmm", $row, ", [{from} + 128*", $row, "]\n",
            "vmovaps zmm", $other, ", [{from} + 64 + 128*", $row, "]\n",
            "prefetchw [{next}]\n",
            "prefetchw [{next} + 64]\n",
            "add {next}, {left}\n",
        )*)
    };
}

/// Stores all sums.
macro_rules! store_sums {
    ($($row:literal $other:literal)*) => {
        concat!($(
            "vmovups [{to}], zmm", $row, "\n",
            "vmovups [{to} + 64], zmm", $other, "\n",
            "add {to}, {left}\n",
        )*)
    };
}

/// The operations on tiles.
macro_rules! tile {
    (zero $tile:literal) => {
        concat!("tilezero tmm", $tile, "\n")
    };
    (load $tile:literal, $at:literal, $on:literal) => {
        concat!("tileloadd tmm", $tile, ", [", $at, " + ", $on, "]\n")
    };
    (multiply $c:literal, $a:literal, $b:literal) => {
        concat!("tdpbf16ps tmm", $c, ", tmm", $a, ", tmm", $b, "\n")
    };
    (store $tile:literal, $to:literal, $panel:literal) => {
        concat!("tilestored [{frame} + {line} + ", $to, " + ", $panel, "], tmm", $tile, "\n")
    };
}

/// Loads the scales of a block.
macro_rules! scales {
    ($v:literal) => {
        concat!("vmovaps zmm24, [{v} + ", $v, "]\n", "vmovaps zmm25, [{v} + 64 + ", $v, "]\n")
    };
}

/// Scales the rows' integers of a block and adds them to the sums. Prefetches the same rows
/// of the next block of rows, `{far}` bytes on.
macro_rules! rows {
    ($x:literal, $s:literal, $from:literal: $($row:literal $other:literal)*) => {
        concat!($(
            "vbroadcastss zmm26, dword ptr [{s} + 4*", $row, " + ", $s, "]\n",
            "prefetcht0 [{x} + {far} + 64*", $row, " + ", $x, "]\n",
            "vmulps zmm27, zmm24, zmm26\n",
            "vmulps zmm28, zmm25, zmm26\n",
            "vfmadd231ps zmm", $row, ", zmm27, [{frame} + 64*", $row, " + ", $from, "]\n",
            "vfmadd231ps zmm", $other, ", zmm28, [{frame} + 768 + 64*", $row, " + ", $from, "]\n",
        )*)
    };
}

/// Works on three blocks at once: multiplies one, `$w` and `$x` bytes on, into tiles `$c`
/// and `$d`; stores the one before, in `$e` and `$f`, to memory at `$to`; adds the one
/// before that, from `$from`, to the sums with scales `$v` and `$s` bytes on. This order
/// was the fastest of some thousand.
macro_rules! step {
    ($c:literal $d:literal $e:literal $f:literal $a:literal, $w:literal, $x:literal, $to:literal,
     $v:literal, $s:literal, $from:literal) => {
        concat!(
            tile!(zero $d),
            scales!($v),
            tile!(load "7", "{w} + {line} + 1152", $w),
            tile!(load $a, "{x} + {line}", $x),
            tile!(load "6", "{w} + {line} + 128", $w),
            rows!($x, $s, $from: 0 12 1 13),
            tile!(zero $c),
            rows!($x, $s, $from: 2 14),
            tile!(multiply $d, $a, "7"),
            rows!($x, $s, $from: 3 15),
            tile!(multiply $c, $a, "6"),
            rows!($x, $s, $from: 4 16 5 17),
            tile!(store $f, $to, "768"),
            rows!($x, $s, $from: 6 18 7 19 8 20 9 21 10 22),
            tile!(store $e, $to, "0"),
            rows!($x, $s, $from: 11 23),
        )
    };
}

/// Multiplies the first two blocks into tiles and stores the first to memory.
macro_rules! begin {
    () => {
        concat!(
            tile!(zero "0"), tile!(zero "1"), tile!(zero "2"), tile!(zero "3"),
            tile!(load "4", "{x} + {line}", "0"),
            tile!(load "6", "{w} + {line}", "128"), tile!(multiply "0", "4", "6"),
            tile!(load "7", "{w} + {line}", "1152"), tile!(multiply "1", "4", "7"),
            tile!(load "5", "{x} + {line}", "832"),
            tile!(load "6", "{w} + {line}", "2304"), tile!(multiply "2", "5", "6"),
            tile!(load "7", "{w} + {line}", "3328"), tile!(multiply "3", "5", "7"),
            tile!(store "0", "0", "0"), tile!(store "1", "0", "768"),
        )
    };
}

/// Weights of some blocks, and the rows to multiply by them.
pub(crate) struct Chunk<'a> {
    /// The first block.
    pub first: usize,
    /// `[block, line]`, an even number of blocks.
    pub weights: &'a [Line],
    /// Blocks of rows.
    pub rows: Range<usize>,
}

impl Chunk<'_> {
    /// Adds the chunk's products to `sums`; the first chunk starts them at 0. With `panel`,
    /// which the last chunk may have, the sums go to the outputs of it and the next panel.
    ///
    /// # Safety
    /// The machine has AMX, and tiles are configured.
    #[target_feature(enable = "avx512f")]
    pub(crate) unsafe fn multiply(&self, job: &Job<'_>, sums: &mut [Sums], panel: Option<usize>) {
        if self.rows.is_empty() {
            return;
        }
        let Chunk { first, weights, rows: Range { start, end } } = *self;
        let (blocks, count) = (job.tiles.blocks, weights.len() / LINES);
        assert!(count > 0 && count.is_multiple_of(2) && first + count <= blocks);
        let tiles = &job.tiles.tiles[start * blocks..(end + 1) * blocks];
        let sums = &mut sums[start..end];
        let (to, next_row) = match panel {
            Some(panel) => (job.place(start * ROWS..end * ROWS, panel, PANELS), job.outputs),
            None => (sums.as_mut_ptr().cast(), PANELS * PANEL),
        };
        let (from, next_from) = match first {
            0 => (&raw const ZERO, 0),
            _ => (sums.as_ptr(), size_of::<Sums>()),
        };
        let mut frame = Frame {
            integers: MaybeUninit::uninit(),
            weights: weights.as_ptr(),
            next_x: (blocks - count) * size_of::<Tile>(),
            pairs: count / 2,
            next_from,
            next_row: next_row * size_of::<f32>(),
        };
        // SAFETY: `w` and `v` move over `count` blocks of weights, then from the first on
        // again; `s` over as many tiles of every block of rows, `x` two tiles ahead and so
        // over the first two of one more block of rows; `from` stays or moves over `sums`,
        // `to` over them or over the outputs. The frame's integers are written before they
        // are read, and prefetching reads nothing.
        unsafe {
            asm!(
                "mov {w}, {v}",
                begin!(),
                "add {w}, 4352",
                "add {x}, 1664",
                "2:",
                "mov {left}, [{frame} + {next_row}]",
                "mov {next}, {to}",
                load_sums!(0 12 1 13 2 14 3 15 4 16 5 17 6 18 7 19 8 20 9 21 10 22 11 23),
                "mov {left}, [{frame} + {pairs}]",
                "3:",
                // The last two blocks overlap with the first two of the next rows.
                "mov {next}, [{frame} + {next_x}]",
                "add {next}, {x}",
                "sub {left}, 1",
                "cmovz {w}, [{frame} + {weights}]",
                "cmovz {x}, {next}",
                step!("0" "1" "2" "3" "4", "0", "0", "1536", "0", "0", "0"),
                step!("2" "3" "0" "1" "5", "2176", "832", "0", "2176", "832", "1536"),
                "add {w}, 4352",
                "add {x}, 1664",
                "add {v}, 4352",
                "add {s}, 1664",
                "test {left}, {left}",
                "jnz 3b",
                "mov {left}, [{frame} + {next_row}]",
                store_sums!(0 12 1 13 2 14 3 15 4 16 5 17 6 18 7 19 8 20 9 21 10 22 11 23),
                "mov {v}, [{frame} + {weights}]",
                "add {s}, [{frame} + {next_x}]",
                "add {from}, [{frame} + {next_from}]",
                "sub {rows}, 1",
                "jnz 2b",
                w = out(reg) _,
                v = inout(reg) weights.as_ptr() => _,
                x = inout(reg) tiles[first..].as_ptr() => _,
                s = inout(reg) tiles[first..].as_ptr().wrapping_byte_add(SCALES) => _,
                left = out(reg) _,
                next = out(reg) _,
                rows = inout(reg) sums.len() => _,
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                frame = in(reg) &raw mut frame,
                line = in(reg) size_of::<Line>(),
                weights = const offset_of!(Frame, weights),
                next_x = const offset_of!(Frame, next_x),
                pairs = const offset_of!(Frame, pairs),
                next_from = const offset_of!(Frame, next_from),
                next_row = const offset_of!(Frame, next_row),
                far = in(reg) blocks * size_of::<Tile>(),
                out("zmm0") _, out("zmm1") _, out("zmm2") _, out("zmm3") _,
                out("zmm4") _, out("zmm5") _, out("zmm6") _, out("zmm7") _,
                out("zmm8") _, out("zmm9") _, out("zmm10") _, out("zmm11") _,
                out("zmm12") _, out("zmm13") _, out("zmm14") _, out("zmm15") _,
                out("zmm16") _, out("zmm17") _, out("zmm18") _, out("zmm19") _,
                out("zmm20") _, out("zmm21") _, out("zmm22") _, out("zmm23") _,
                out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _,
                out("zmm28") _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}
