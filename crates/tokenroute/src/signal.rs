//! The wish of whoever runs a server that it end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

/// How often to look.
const LOOK: Duration = Duration::from_millis(50);

/// Set once the process is interrupted or terminated.
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Begins to listen. The first signal is the wish; the second, for whoever does not want
    /// to wait for what is under way, ends the process, with the status a shell gives it.
    pub fn listen() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for &signal in signal_hook::consts::TERM_SIGNALS {
            let again = Arc::clone(&stop);
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, again)?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Stop(stop))
    }

    /// Returns when the process is to end.
    pub fn wait(&self) {
        while !self.0.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
        }
    }
}
