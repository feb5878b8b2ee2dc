//! Whether this machine has AMX and the system lets this process use it.
#![allow(unsafe_code)]

#[cfg(target_os = "linux")]
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::sync::OnceLock;

/// Whether the machine has the instructions and the system permits their state to this
/// process. The system is asked once.
pub(crate) fn available() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| present() && permitted())
}

/// Looks for AMX-TILE and AMX-BF16 (Intel SDM, volume 2, `CPUID`), with both parts of
/// their state enabled by the system.
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

/// Asks Linux for the tiles' state, which it grants per process (kernel documentation,
/// arch/x86/xstate.rst).
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
