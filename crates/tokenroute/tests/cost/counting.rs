//! The system's allocator with counts, and the cost of a piece of work.
#![allow(unsafe_code)]

#[allow(dead_code, reason = "the tests of `store` use all of it")]
#[path = "../../../store/tests/counting/mod.rs"]
mod allocator;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allocator::{BYTES, CALLS, LIVE, PEAK};

/// The counts are those of the process, so one test measures at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that are allocated now.
pub fn live() -> usize {
    LIVE.load(Relaxed)
}

/// What a piece of work costs.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Allocations.
    pub calls: usize,
    /// Bytes of all allocations.
    pub bytes: usize,
    /// Live bytes at most, beyond those before the work.
    pub peak: usize,
    /// Time of all processors, where the system states it, else time on the clock.
    pub time: Duration,
}

/// Time that this process has taken on all processors. Other processes do not add to it.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn now() -> Duration {
    #[repr(C)]
    struct Time {
        seconds: i64,
        nanoseconds: i64,
    }
    unsafe extern "C" {
        fn clock_gettime(clock: i32, time: *mut Time) -> i32;
    }
    const PROCESS_CPU_TIME: i32 = 2;
    let mut time = Time { seconds: 0, nanoseconds: 0 };
    // SAFETY: the C library writes two numbers of this size into the place that it is given.
    unsafe { clock_gettime(PROCESS_CPU_TIME, &mut time) };
    Duration::new(time.seconds as u64, time.nanoseconds as u32)
}

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
fn now() -> Duration {
    use std::sync::LazyLock;
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    START.elapsed()
}

/// Waits until other threads have given back what they hold: a server ends a connection a
/// moment after its reply.
fn settle() {
    let mut before = live();
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(3));
        let after = live();
        if after == before {
            return;
        }
        before = after;
    }
}

/// Does the work, with [`alone`] held.
pub fn cost(work: impl FnOnce()) -> Cost {
    settle();
    let (calls, bytes, before) = (CALLS.load(Relaxed), BYTES.load(Relaxed), live());
    PEAK.store(before, Relaxed);
    let start = now();
    work();
    let time = now() - start;
    Cost {
        calls: CALLS.load(Relaxed) - calls,
        bytes: BYTES.load(Relaxed) - bytes,
        peak: PEAK.load(Relaxed).saturating_sub(before),
        time,
    }
}
