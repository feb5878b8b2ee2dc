//! Whether a request is under way on a connection, and since when none is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Requests on a connection.
#[derive(Debug)]
pub(super) struct Activity(Mutex<Requests>);

#[derive(Debug, Clone, Copy)]
struct Requests {
    /// How many are under way.
    under_way: usize,
    /// When that number last fell.
    since: Instant,
    /// Whether there has been one.
    begun: bool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let requests = Requests { under_way: 0, since: Instant::now(), begun: false };
        Arc::new(Activity(Mutex::new(requests)))
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        // No holder of the lock can panic halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once no request has been under way for this long.
    pub(super) async fn idle(&self, limit: Duration) {
        self.unused(limit, limit).await;
    }

    /// Returns once no request has been under way for the time of `later`, or of `first` before
    /// the first request.
    pub(super) async fn unused(&self, first: Duration, later: Duration) {
        loop {
            let Requests { under_way, since, begun } = *self.lock();
            let limit = if begun { later } else { first };
            let left = limit.saturating_sub(since.elapsed());
            if under_way == 0 && left.is_zero() {
                return;
            }
            sleep(if under_way == 0 { left } else { limit }).await;
        }
    }
}

/// Counts as one request under way until it is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Busy {
    pub(super) fn new(activity: &Arc<Activity>) -> Self {
        let mut requests = activity.lock();
        requests.under_way += 1;
        requests.begun = true;
        drop(requests);
        Busy(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut requests = self.0.lock();
        requests.under_way -= 1;
        requests.since = Instant::now();
    }
}
