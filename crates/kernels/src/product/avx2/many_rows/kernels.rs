//! The kernels for many rows, in assembly: 2 rows by a panel, in 16 registers.

use std::arch::asm;

use super::{Kernel, Part, ROWS, Sums};
use crate::BLOCK;
use crate::matrix::PANEL;

/// Reads vector `$v` of both halves' weights, and calls `$row` with the sums of every row and its
/// columns.
macro_rules! columns {
    ($row:ident, $v:literal) => {
        concat!(
            "vmovdqu ymm8, [{w} + 64*", $v, "]\n",
            "vmovdqu ymm9, [{w} + 32 + 64*", $v, "]\n",
            $row!(@weights $v),
            $row!("0", "1", "{x} + 4*", $v),
            $row!("2", "3", "{x} + {row} + 4*", $v),
        )
    };
}

/// Adds levels · columns to a row's sums in 16 bits.
macro_rules! levels {
    (@weights $v:literal) => {
        ""
    };
    ($a:literal, $b:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd ymm12, dword ptr [",
            $at,
            $v,
            "]\n",
            "vpmaddubsw ymm13, ymm8, ymm12\n",
            "vpmaddubsw ymm12, ymm9, ymm12\n",
            "vpaddw ymm",
            $a,
            ", ymm",
            $a,
            ", ymm13\n",
            "vpaddw ymm",
            $b,
            ", ymm",
            $b,
            ", ymm12\n",
        )
    };
}

/// Adds (byte − 128) · columns to a row's sums in 32 bits, as |w|·(±x).
macro_rules! bytes {
    (@weights $v:literal) => {
        concat!(
            "prefetcht0 byte ptr [{w} + 2048 + 64*",
            $v,
            "]\n",
            "vpxor ymm8, ymm8, ymm14\nvpabsb ymm10, ymm8\n",
            "vpxor ymm9, ymm9, ymm14\nvpabsb ymm11, ymm9\n",
        )
    };
    ($a:literal, $b:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd ymm12, dword ptr [",
            $at,
            $v,
            "]\n",
            "vpsignb ymm13, ymm12, ymm8\n",
            "vpsignb ymm12, ymm12, ymm9\n",
            "vpmaddubsw ymm13, ymm10, ymm13\n",
            "vpmaddubsw ymm12, ymm11, ymm12\n",
            "vpmaddwd ymm13, ymm13, ymm15\n",
            "vpmaddwd ymm12, ymm12, ymm15\n",
            "vpaddd ymm",
            $a,
            ", ymm",
            $a,
            ", ymm13\n",
            "vpaddd ymm",
            $b,
            ", ymm",
            $b,
            ", ymm12\n",
        )
    };
}

/// Adds stored weights · columns to a row's sums in 32 bits.
macro_rules! vnni {
    (@weights $v:literal) => {
        ""
    };
    ($a:literal, $b:literal, $at:literal, $v:literal) => {
        concat!(
            "vpbroadcastd ymm12, dword ptr [",
            $at,
            $v,
            "]\n",
            "{{vex}} vpdpbusd ymm",
            $a,
            ", ymm8, ymm12\n",
            "{{vex}} vpdpbusd ymm",
            $b,
            ", ymm9, ymm12\n",
        )
    };
}

/// Both rows: their sums in integers and in floats, and where their numbers are.
macro_rules! rows {
    ($line:ident) => {
        concat!(
            $line!("0", "1", "4", "5", "{scale}", "{offset}", "{pair}"),
            $line!(
                "2",
                "3",
                "6",
                "7",
                "{scale} + {number}",
                "{offset} + {number}",
                "{pair} + {number}"
            ),
        )
    };
}

/// Begins with 0.
macro_rules! zero {
    ($a:literal, $b:literal, $($_:literal),*) => {
        concat!(
            "vpxor ymm",
            $a,
            ", ymm",
            $a,
            ", ymm",
            $a,
            "\n",
            "vpxor ymm",
            $b,
            ", ymm",
            $b,
            ", ymm",
            $b,
            "\n",
        )
    };
}

/// Begins with −offset · Σx in 16 bits. The whole block's sums of (level − 16) · x stay below
/// 16·127·16 = 32512. On the way they may wrap.
macro_rules! less_in_16_bits {
    ($shift:literal, $a:literal, $b:literal, $at:literal) => {
        concat!(
            "vpbroadcastd ymm",
            $a,
            ", dword ptr [",
            $at,
            "]\n",
            "vpsllw ymm",
            $a,
            ", ymm",
            $a,
            ", ",
            $shift,
            "\n",
            "vmovdqa ymm",
            $b,
            ", ymm",
            $a,
            "\n",
        )
    };
}
macro_rules! less_8 {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $offset:literal, $at:literal) => {
        less_in_16_bits!("3", $a, $b, $at)
    };
}
macro_rules! less_16 {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $offset:literal, $at:literal) => {
        less_in_16_bits!("4", $a, $b, $at)
    };
}

/// Begins with −offset · Σx in 32 bits.
macro_rules! less_in_32_bits {
    ($shift:literal, $a:literal, $b:literal, $at:literal) => {
        concat!(
            "vpbroadcastd ymm",
            $a,
            ", dword ptr [",
            $at,
            "]\n",
            "vpsrad ymm",
            $a,
            ", ymm",
            $a,
            ", ",
            $shift,
            "\n",
            "vmovdqa ymm",
            $b,
            ", ymm",
            $a,
            "\n",
        )
    };
}
macro_rules! less_8_in_32_bits {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $at:literal, $pair:literal) => {
        less_in_32_bits!("4", $a, $b, $at)
    };
}
macro_rules! less_16_in_32_bits {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $at:literal, $pair:literal) => {
        less_in_32_bits!("3", $a, $b, $at)
    };
}

/// The sums of 16 bits in 32 bits.
macro_rules! widen {
    ($a:literal, $b:literal, $($_:literal),*) => {
        concat!(
            "vpmaddwd ymm",
            $a,
            ", ymm",
            $a,
            ", ymm15\n",
            "vpmaddwd ymm",
            $b,
            ", ymm",
            $b,
            ", ymm15\n",
        )
    };
}

/// The same, with 16 · Σx added again.
macro_rules! widen_more_16 {
    ($a:literal, $b:literal, $c:literal, $d:literal, $scale:literal, $at:literal, $pair:literal) => {
        concat!(
            widen!($a, $b, $c),
            "vpbroadcastd ymm12, dword ptr [",
            $at,
            "]\n",
            "vpsrad ymm12, ymm12, 3\n",
            "vpsubd ymm",
            $a,
            ", ymm",
            $a,
            ", ymm12\n",
            "vpsubd ymm",
            $b,
            ", ymm",
            $b,
            ", ymm12\n",
        )
    };
}

macro_rules! nothing {
    ($($_:literal),*) => {
        ""
    };
}

/// Scales a row's integers of this block and adds them to its sums.
macro_rules! scale {
    ($a:literal, $b:literal, $sum:literal, $other:literal, $at:literal, $($_:literal),*) => {
        concat!(
            "vbroadcastss ymm12, dword ptr [",
            $at,
            "]\n",
            "vcvtdq2ps ymm",
            $a,
            ", ymm",
            $a,
            "\n",
            "vcvtdq2ps ymm",
            $b,
            ", ymm",
            $b,
            "\n",
            "vmulps ymm13, ymm8, ymm12\n",
            "vmulps ymm12, ymm9, ymm12\n",
            "vfmadd231ps ymm",
            $sum,
            ", ymm13, ymm",
            $a,
            "\n",
            "vfmadd231ps ymm",
            $other,
            ", ymm12, ymm",
            $b,
            "\n",
        )
    };
}

/// A kernel: what a block's sums begin with, the products of a vector, and what makes 32 bits of
/// the sums.
macro_rules! kernel {
    ($name:ident, $constant:ident, $pairs:literal, $begin:ident, $products:ident, $end:ident,
     $doc:literal) => {
        #[doc = $doc]
        pub(in super::super) const $constant: Kernel = Kernel { multiply: $name, pairs: $pairs };

        /// # Safety
        /// The machine has the instructions. `blocks` blocks of weights and heads can be read.
        unsafe fn $name(part: &Part<'_>) -> Sums {
            let mut sums = [[0.0; PANEL]; ROWS];
            // SAFETY: `x` moves by 32 bytes, and `scale`, `offset` and `pair` by one number a
            // block, over `ROWS` rows of as many blocks; `w` and `head` are the caller's.
            unsafe {
                asm!(
                    "vpcmpeqd ymm15, ymm15, ymm15",
                    "vpabsw ymm15, ymm15",
                    "vpcmpeqd ymm14, ymm14, ymm14",
                    "vpabsb ymm14, ymm14",
                    "vpsllw ymm14, ymm14, 7",
                    "vxorps ymm4, ymm4, ymm4", "vxorps ymm5, ymm5, ymm5",
                    "vxorps ymm6, ymm6, ymm6", "vxorps ymm7, ymm7, ymm7",
                    "2:",
                    rows!($begin),
                    columns!($products, "0"), columns!($products, "1"),
                    columns!($products, "2"), columns!($products, "3"),
                    columns!($products, "4"), columns!($products, "5"),
                    columns!($products, "6"), columns!($products, "7"),
                    rows!($end),
                    "vcvtph2ps ymm8, xmmword ptr [{head}]",
                    "vcvtph2ps ymm9, xmmword ptr [{head} + 16]",
                    rows!(scale),
                    "add {w}, {stride}",
                    "add {head}, {tile}",
                    "add {x}, 32",
                    "add {scale}, 4",
                    "add {offset}, 4",
                    "add {pair}, 4",
                    "sub {left}, 1",
                    "jnz 2b",
                    "vmovups [{out}], ymm4", "vmovups [{out} + 32], ymm5",
                    "vmovups [{out} + 64], ymm6", "vmovups [{out} + 96], ymm7",
                    w = inout(reg) part.weights => _,
                    stride = in(reg) part.stride,
                    head = inout(reg) part.heads => _,
                    tile = in(reg) part.tile,
                    x = inout(reg) part.quants.as_ptr() => _,
                    row = in(reg) part.blocks * BLOCK,
                    scale = inout(reg) part.scales.as_ptr() => _,
                    offset = inout(reg) part.offsets.as_ptr() => _,
                    pair = inout(reg) part.pairs.as_ptr() => _,
                    number = in(reg) part.blocks * size_of::<f32>(),
                    left = inout(reg) part.blocks => _,
                    out = in(reg) sums.as_mut_ptr(),
                    out("ymm0") _, out("ymm1") _, out("ymm2") _, out("ymm3") _,
                    out("ymm4") _, out("ymm5") _, out("ymm6") _, out("ymm7") _,
                    out("ymm8") _, out("ymm9") _, out("ymm10") _, out("ymm11") _,
                    out("ymm12") _, out("ymm13") _, out("ymm14") _, out("ymm15") _,
                    options(nostack),
                );
            }
            sums
        }
    };
}

kernel!(q8, Q8, false, zero, bytes, nothing, "Bytes with offset 128.");
kernel!(q4_levels, Q4_LEVELS, false, zero, levels, widen, "Levels of 4 bits.");
kernel!(q4, Q4, true, less_8, levels, widen, "4 bits with offset 8.");
kernel!(q5, Q5, true, less_16, levels, widen, "5 bits with offset 16.");
kernel!(q5_levels, Q5_LEVELS, true, less_16, levels, widen_more_16, "Levels of 5 bits.");
kernel!(
    vnni_q4,
    VNNI_Q4,
    false,
    less_8_in_32_bits,
    vnni,
    nothing,
    "4 bits with offset 8, with AVX-VNNI."
);
kernel!(
    vnni_q5,
    VNNI_Q5,
    false,
    less_16_in_32_bits,
    vnni,
    nothing,
    "5 bits with offset 16, with AVX-VNNI."
);
kernel!(
    vnni_levels,
    VNNI_LEVELS,
    false,
    zero,
    vnni,
    nothing,
    "Levels of 4 or 5 bits, with AVX-VNNI."
);
