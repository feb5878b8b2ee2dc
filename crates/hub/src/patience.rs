//! A limit on silence: work over the network runs on a thread of its own, and whoever
//! waits for it gives up when nothing has come for a while. hf-hub sets no timeouts and
//! lets nobody else set them.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokenroute_core::Progress;

/// What a worker tells while it works.
enum Event {
    Begin(String, u64),
    Advance(u64),
}

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Nothing came for so long.
    Silent(Duration),
    /// The worker died.
    Died,
}

/// Runs `work` and passes on what it reports. When nothing is heard for `patience`, the
/// worker is left behind: a read that never returns cannot be ended, only abandoned.
pub(crate) fn wait<T: Send + 'static>(
    patience: Duration,
    progress: &dyn Progress,
    work: impl FnOnce(Bar) -> T + Send + 'static,
) -> Result<T, Stopped> {
    let (events, heard) = channel();
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    thread::spawn(move || {
        let done = work(Bar { events: events.clone(), begun: false, at_start: true, done: 0 });
        // `events` outlives this line, so the result is there before the line goes dead.
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        drop(events);
    });
    loop {
        match heard.recv_timeout(patience) {
            Ok(Event::Begin(file, size)) => {
                progress.begin(&format!("fetch {file}"), size, "bytes");
            }
            Ok(Event::Advance(bytes)) => progress.advance(bytes),
            Err(RecvTimeoutError::Timeout) => return Err(Stopped::Silent(patience)),
            Err(RecvTimeoutError::Disconnected) => {
                let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
                return result.take().ok_or(Stopped::Died);
            }
        }
    }
}

/// hf-hub's listener on ours. A download that goes on where it stopped says so in
/// its first update, which is then a position.
pub(crate) struct Bar {
    events: Sender<Event>,
    begun: bool,
    at_start: bool,
    done: u64,
}

impl Bar {
    fn tell(&self, event: Event) {
        // A worker that was left behind talks to nobody.
        let _ = self.events.send(event);
    }
}

impl hf_hub::api::Progress for Bar {
    fn init(&mut self, size: usize, file: &str) {
        if !self.begun {
            self.tell(Event::Begin(file.to_owned(), size as u64));
            self.begun = true;
        }
        self.at_start = true;
    }

    fn update(&mut self, size: usize) {
        let size = size as u64;
        let new = if self.at_start { size.saturating_sub(self.done) } else { size };
        self.at_start = false;
        self.done += new;
        self.tell(Event::Advance(new));
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
        assert_eq!(dies, Err::<(), _>(Stopped::Died));
        let (never, heard) = channel::<()>();
        let patience = Duration::from_millis(20);
        let hangs = wait(patience, &Silent, move |_| heard.recv().is_ok());
        assert_eq!(hangs, Err(Stopped::Silent(patience)));
        drop(never);
    }
}
