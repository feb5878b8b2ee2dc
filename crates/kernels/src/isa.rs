//! Instruction sets: which of them this machine runs, and which one is used.

use std::fmt;
use std::sync::OnceLock;

use crate::KernelError;

/// The instruction set of the kernels. All sets give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust, on every machine.
    Portable,
    /// AVX2 with FMA and F16C, without integer dot instructions.
    Avx2,
    /// AVX2 with AVX-VNNI.
    AvxVnni,
    /// AVX-512 with VNNI.
    Avx512,
    /// AVX-512 with VNNI, and AMX with bf16 for many rows.
    Amx,
    /// NEON with the dot product extension.
    Neon,
}

/// Names of [`Isa`], as `TOKENROUTE_ISA` takes them, slowest first.
const NAMES: [(Isa, &str); 6] = [
    (Isa::Portable, "portable"),
    (Isa::Neon, "neon"),
    (Isa::Avx2, "avx2"),
    (Isa::AvxVnni, "avxvnni"),
    (Isa::Avx512, "avx512"),
    (Isa::Amx, "amx"),
];

impl Isa {
    /// The sets that this machine runs, slowest first.
    #[must_use]
    pub fn available() -> Vec<Isa> {
        NAMES.into_iter().map(|(isa, _)| isa).filter(|isa| isa.runs()).collect()
    }

    /// The set named by `TOKENROUTE_ISA` (read once), else the fastest.
    ///
    /// # Errors
    /// The name is unknown, or this machine does not run the set.
    pub fn chosen() -> Result<Isa, KernelError> {
        static FORCED: OnceLock<Option<String>> = OnceLock::new();
        match FORCED.get_or_init(|| std::env::var("TOKENROUTE_ISA").ok()) {
            Some(name) => Isa::named(name),
            None => Ok(Isa::available().pop().unwrap_or(Isa::Portable)),
        }
    }

    /// The set of that name.
    ///
    /// # Errors
    /// The name is unknown, or this machine does not run the set.
    pub fn named(name: &str) -> Result<Isa, KernelError> {
        let known = NAMES.into_iter().find(|(_, known)| *known == name);
        known.map_or(Err(Isa::refused(name)), |(isa, _)| isa.checked())
    }

    /// Returns the set if this machine runs it.
    pub(crate) fn checked(self) -> Result<Isa, KernelError> {
        if self.runs() { Ok(self) } else { Err(Isa::refused(&self.to_string())) }
    }

    fn refused(wanted: &str) -> KernelError {
        let names: Vec<_> = Isa::available().iter().map(Isa::to_string).collect();
        KernelError::Isa { wanted: wanted.to_owned(), available: names.join(", ") }
    }

    #[cfg(target_arch = "x86_64")]
    fn runs(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma") && has!("f16c");
        let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vnni");
        match self {
            Isa::Portable => true,
            Isa::Avx2 => avx2,
            Isa::AvxVnni => avx2 && has!("avxvnni"),
            Isa::Avx512 => avx512,
            Isa::Amx => avx512 && crate::amx_support::available(),
            Isa::Neon => false,
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn runs(self) -> bool {
        match self {
            Isa::Portable => true,
            Isa::Neon => std::arch::is_aarch64_feature_detected!("dotprod"),
            Isa::Avx2 | Isa::AvxVnni | Isa::Avx512 | Isa::Amx => false,
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn runs(self) -> bool {
        self == Isa::Portable
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(isa, _)| isa == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}
