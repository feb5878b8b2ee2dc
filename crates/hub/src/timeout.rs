//! A timeout for network work. hf-hub sets no timeouts and has no option for them. So the
//! work runs on its own thread, and the caller stops waiting if no progress is reported for
//! a while.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokenroute_core::Progress;

/// A progress report of the worker.
enum Update {
    Begin(String, u64),
    Advance(u64),
}

/// Why the worker gave no result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// No report came for this long.
    TimedOut(Duration),
    /// The worker panicked.
    Panicked,
    /// The system refuses a thread, for this reason.
    NoThread(String),
}

/// Runs `work` on a thread and passes on its progress. After `timeout` without a report the
/// worker is abandoned: a blocked read cannot be cancelled.
pub(crate) fn wait<T: Send + 'static>(
    timeout: Duration,
    progress: &dyn Progress,
    work: impl FnOnce(DownloadProgress) -> T + Send + 'static,
) -> Result<T, Stopped> {
    let (updates, received) = channel();
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    let run = move || {
        let done = work(DownloadProgress { updates: updates.clone(), done: 0 });
        // The result must be stored before `updates` is dropped, which ends the loop below.
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        drop(updates);
    };
    let spawned = thread::Builder::new().name("hub".to_owned()).spawn(run);
    spawned.map_err(|error| Stopped::NoThread(error.to_string()))?;
    loop {
        match received.recv_timeout(timeout) {
            Ok(Update::Begin(file, size)) => {
                progress.begin(&format!("fetch {file}"), size, "bytes");
            }
            Ok(Update::Advance(bytes)) => progress.advance(bytes),
            Err(RecvTimeoutError::Timeout) => return Err(Stopped::TimedOut(timeout)),
            Err(RecvTimeoutError::Disconnected) => {
                let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
                return result.take().ok_or(Stopped::Panicked);
            }
        }
    }
}

/// Reports the progress of a download. Each report also restarts the timeout.
pub(crate) struct DownloadProgress {
    updates: Sender<Update>,
    /// The furthest position so far.
    done: u64,
}

impl DownloadProgress {
    /// Reports the start of a file of `size` bytes.
    pub(crate) fn begin(&mut self, file: &str, size: u64) {
        self.send(Update::Begin(file.to_owned(), size));
    }

    /// Reports the position in the file. A restarted download reaches known positions again.
    pub(crate) fn at(&mut self, position: u64) {
        self.send(Update::Advance(position.saturating_sub(self.done)));
        self.done = self.done.max(position);
    }

    fn send(&self, update: Update) {
        // The receiver of an abandoned worker is gone.
        let _ = self.updates.send(update);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokenroute_core::Silent;

    #[test]
    fn a_worker_that_dies_is_told_from_one_that_is_silent() {
        let dies = wait(Duration::from_secs(60), &Silent, |bar| {
            drop(bar);
            std::panic::resume_unwind(Box::new("a reply that makes no sense"))
        });
        assert_eq!(dies, Err::<(), _>(Stopped::Panicked));
        let (never, received) = channel::<()>();
        let timeout = Duration::from_millis(20);
        let hangs = wait(timeout, &Silent, move |_| received.recv().is_ok());
        assert_eq!(hangs, Err(Stopped::TimedOut(timeout)));
        drop(never);
    }
}
