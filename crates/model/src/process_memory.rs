//! How much memory this process holds, as Linux counts it; unknown elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Starts counting the peak anew from what is held now.
pub fn reset_peak() {
    // Where the system refuses, the peak is that of the whole run, which is an upper bound.
    drop(std::fs::write("/proc/self/clear_refs", "5"));
}

/// Most memory held since, in bytes, mapped files included.
pub fn peak() -> Option<u64> {
    status("VmHWM")
}

/// Memory held now that no file stands behind, in bytes.
pub fn anonymous() -> Option<u64> {
    status("RssAnon")
}

/// What `work` gives, and the most that [`anonymous`] was meanwhile, looked at every
/// millisecond.
pub fn most_anonymous<T>(work: impl FnOnce() -> T) -> (T, Option<u64>) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = anonymous();
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(1));
                most = most.max(anonymous());
            }
            most
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, watch.join().ok().flatten())
    })
}

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kilobytes)
}
