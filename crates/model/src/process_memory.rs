//! The memory of this process, as Linux counts it; unknown on other systems.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Resets the peak to the current memory.
pub fn reset_peak() {
    // If the system refuses, the peak stays that of the whole run, an upper bound.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
}

/// Peak memory since the last reset in bytes, mapped files included.
pub fn peak() -> Option<u64> {
    status("VmHWM")
}

/// Current memory in bytes, mapped files included.
pub fn resident() -> Option<u64> {
    status("VmRSS")
}

/// Current memory of mapped files, in bytes.
pub fn mapped() -> Option<u64> {
    status("RssFile")
}

/// Current memory that is not backed by a file, in bytes.
pub fn anonymous() -> Option<u64> {
    status("RssAnon")
}

/// Runs `work` and returns its result with the maximum of [`anonymous`] meanwhile, sampled
/// every millisecond.
pub fn most_anonymous<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = thread::Builder::new().spawn_scoped(scope, || {
            let mut most = anonymous();
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
                most = most.max(anonymous());
            }
            most
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        // Without a thread the memory is unknown.
        (result, watch.ok().and_then(|watch| watch.join().ok().flatten()))
    })
}

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kilobytes)
}
