//! Work on a request that may take long, such as tokenising a long prompt. It runs off the
//! threads that serve connections, a few requests at once, so that `/health` and short
//! requests do not wait for it.

use std::sync::Arc;
use std::thread;

use tokio::sync::Semaphore;

use crate::net::refusal::Refusal;

/// Bytes of a request that are read faster than work moves to another thread.
const SMALL: usize = 8 << 10;

/// Places for long work: one for every two processors.
#[derive(Debug, Clone)]
pub(crate) struct LongWork(Arc<Semaphore>);

impl LongWork {
    pub(crate) fn new() -> Self {
        let places = thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        LongWork(Arc::new(Semaphore::new(places)))
    }

    /// Does work on a request of this many bytes.
    ///
    /// # Errors
    /// The work's own; [`Refusal::Failed`] if it panics.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        if bytes <= SMALL {
            return work();
        }
        // The semaphore is never closed.
        let place = Arc::clone(&self.0).acquire_owned().await.map_err(|_| Refusal::ShuttingDown)?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        let broken = |_| Refusal::Failed("the request broke the server's reader".to_owned());
        done.await.map_err(broken)?
    }
}
