//! Whether a request is under way on a connection, and since when none is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Requests under way on a connection, and when that number last fell.
#[derive(Debug)]
pub(super) struct Activity(Mutex<(usize, Instant)>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Activity(Mutex::new((0, Instant::now()))))
    }

    fn lock(&self) -> MutexGuard<'_, (usize, Instant)> {
        // No holder of the lock can panic halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once no request has been under way for this long.
    pub(super) async fn idle(&self, limit: Duration) {
        loop {
            let (requests, since) = *self.lock();
            let left = limit.saturating_sub(since.elapsed());
            if requests == 0 && left.is_zero() {
                return;
            }
            sleep(if requests == 0 { left } else { limit }).await;
        }
    }
}

/// Counts as one request under way until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        activity.lock().0 += 1;
        Busy(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut activity = self.0.lock();
        *activity = (activity.0 - 1, Instant::now());
    }
}
