//! Measures how fast a machine multiplies 8-bit integers held in registers, which limits
//! prefill and the decoding of many sequences.
#![allow(unsafe_code)]

use std::time::Instant;

use crate::{Isa, Pool};

/// Turns of the loop in one part.
const TURNS: usize = 100_000;
/// Parts for each thread, so that threads finish together.
const PARTS: usize = 16;
const ROUNDS: usize = 5;

impl Pool {
    /// Measures the operations a second, two for each multiply-add, of the instructions that
    /// multiply blocks of 8 bits on this pool's instruction set: the best of five rounds of a
    /// loop on registers alone. `None` for sets without such a loop: portable Rust, NEON and AMX.
    ///
    /// With [`Isa::Avx2`] a multiply-add into 32 bits is `vpmaddubsw`, `vpmaddwd` and `vpaddd`.
    /// Products of 4-bit weights leave out the `vpmaddwd` and may exceed this limit.
    #[must_use]
    pub fn product_limit(&self) -> Option<f64> {
        let (turn, operations) = register_loop(self.isa())?;
        let mut parts = vec![(); PARTS * self.threads()];
        let mut best = f64::MAX;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            self.chunks_mut(&mut parts, 1, |_, _| turn());
            best = best.min(start.elapsed().as_secs_f64());
        }
        Some((operations * TURNS * PARTS * self.threads()) as f64 / best)
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn register_loop(_: Isa) -> Option<(fn(), usize)> {
    None
}

/// The loop of an instruction set, and the operations of one turn.
#[cfg(target_arch = "x86_64")]
fn register_loop(isa: Isa) -> Option<(fn(), usize)> {
    // `Isa` names only sets that this machine runs, see `Isa::checked`.
    match isa {
        Isa::Avx2 => Some((avx2, 2 * 7 * 32)),
        Isa::AvxVnni => Some((avx_vnni, 2 * 12 * 32)),
        Isa::Avx512 => Some((avx512, 2 * 12 * 64)),
        Isa::Portable | Isa::Amx | Isa::Neon => None,
    }
}

/// Repeats lines of assembly [`TURNS`] times. `ymm14` and `ymm15` are the factors, of zeros.
#[cfg(target_arch = "x86_64")]
macro_rules! repeated {
    ($($line:expr),* $(,)?) => {
        // SAFETY: the lines change vector registers alone, all of which are declared.
        unsafe {
            std::arch::asm!(
                "vzeroall",
                "2:",
                $($line,)*
                "sub {turns}, 1",
                "jnz 2b",
                "vzeroupper",
                turns = inout(reg) TURNS => _,
                out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
                out("xmm4") _, out("xmm5") _, out("xmm6") _, out("xmm7") _,
                out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                out("xmm12") _, out("xmm13") _, out("xmm14") _, out("xmm15") _,
                options(nomem, nostack),
            );
        }
    };
}

#[cfg(target_arch = "x86_64")]
macro_rules! avx2_line {
    ($sum:literal, $product:literal) => {
        concat!(
            "vpmaddubsw ymm",
            $product,
            ", ymm14, ymm15\n",
            "vpmaddwd ymm",
            $product,
            ", ymm",
            $product,
            ", ymm15\n",
            "vpaddd ymm",
            $sum,
            ", ymm",
            $sum,
            ", ymm",
            $product,
        )
    };
}

#[cfg(target_arch = "x86_64")]
fn avx2() {
    repeated!(
        avx2_line!("0", "7"),
        avx2_line!("1", "8"),
        avx2_line!("2", "9"),
        avx2_line!("3", "10"),
        avx2_line!("4", "11"),
        avx2_line!("5", "12"),
        avx2_line!("6", "13"),
    );
}

/// One instruction for each of 12 sums.
#[cfg(target_arch = "x86_64")]
macro_rules! dot {
    ($prefix:literal, $register:literal) => {
        repeated!(
            dot!(@ $prefix $register "0"), dot!(@ $prefix $register "1"),
            dot!(@ $prefix $register "2"), dot!(@ $prefix $register "3"),
            dot!(@ $prefix $register "4"), dot!(@ $prefix $register "5"),
            dot!(@ $prefix $register "6"), dot!(@ $prefix $register "7"),
            dot!(@ $prefix $register "8"), dot!(@ $prefix $register "9"),
            dot!(@ $prefix $register "10"), dot!(@ $prefix $register "11"),
        )
    };
    (@ $prefix:literal $register:literal $sum:literal) => {
        concat!(
            $prefix, "vpdpbusd ", $register, $sum, ", ", $register, "14, ", $register, "15",
        )
    };
}

#[cfg(target_arch = "x86_64")]
fn avx_vnni() {
    dot!("{{vex}} ", "ymm");
}

#[cfg(target_arch = "x86_64")]
fn avx512() {
    dot!("", "zmm");
}
