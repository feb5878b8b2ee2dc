//! Stops a server on Ctrl-C or SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};

/// Time between two checks of the flag.
const LOOK: Duration = Duration::from_millis(50);

/// Set once the process is interrupted or terminated.
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Handles the signals. The first one requests a shutdown. The second one ends the
    /// process at once, with the exit status 128 + signal.
    pub fn listen() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for &signal in signal_hook::consts::TERM_SIGNALS {
            let again = Arc::clone(&stop);
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, again)?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Stop(stop))
    }

    /// Blocks until a signal requests a shutdown.
    ///
    /// # Errors
    /// The server is not alive any more: a thread of it has panicked.
    pub fn wait(&self, alive: impl Fn() -> bool) -> Result<()> {
        while !self.0.load(Ordering::Relaxed) {
            ensure!(
                alive(),
                "a thread of the server has ended after a panic; see the message above"
            );
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}
