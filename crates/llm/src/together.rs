//! Calls in parallel, on threads that end with the last call.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Runs `work` for every number below `count`, at most `threads` at once. A result is `None`
/// if its thread panicked.
pub(crate) fn together<T: Send + Sync>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> T + Sync,
) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let done: Vec<OnceLock<T>> = (0..count).map(|_| OnceLock::new()).collect();
    let run = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = done.get(i) else { return };
            place.get_or_init(|| work(i));
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            // If the system refuses a thread, those that run do its share.
            drop(thread::Builder::new().spawn_scoped(scope, run));
        }
        run();
    });
    done.into_iter().map(OnceLock::into_inner).collect()
}
