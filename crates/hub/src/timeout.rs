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
    thread::spawn(move || {
        let done = work(DownloadProgress {
            updates: updates.clone(),
            begun: false,
            at_start: true,
            done: 0,
        });
        // The result must be stored before `updates` is dropped, which ends the loop below.
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        drop(updates);
    });
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

/// Forwards hf-hub's progress to ours. The first update of a resumed download is its start
/// position, not an increment.
pub(crate) struct DownloadProgress {
    updates: Sender<Update>,
    begun: bool,
    at_start: bool,
    done: u64,
}

impl DownloadProgress {
    fn send(&self, update: Update) {
        // The receiver of an abandoned worker is gone.
        let _ = self.updates.send(update);
    }
}

impl hf_hub::api::Progress for DownloadProgress {
    fn init(&mut self, size: usize, file: &str) {
        if !self.begun {
            self.send(Update::Begin(file.to_owned(), size as u64));
            self.begun = true;
        }
        self.at_start = true;
    }

    fn update(&mut self, size: usize) {
        let size = size as u64;
        let new = if self.at_start { size.saturating_sub(self.done) } else { size };
        self.at_start = false;
        self.done += new;
        self.send(Update::Advance(new));
    }

    fn finish(&mut self) {}
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
