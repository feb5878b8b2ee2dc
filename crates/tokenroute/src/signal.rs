//! Stops a server on Ctrl-C or SIGTERM, and says why a process ends at SIGBUS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
#[cfg(unix)]
use std::{fs::File, io::Write, mem::ManuallyDrop, os::fd::FromRawFd};

use anyhow::{Result, ensure};

/// Time between two checks of the flag.
const LOOK: Duration = Duration::from_millis(50);

/// What a process says that read beyond the end of a file.
#[cfg(unix)]
const CUT: &[u8] = b"error: a file of a model became shorter while it was in use; restore it, and replace files by renaming new ones over them\n";

/// Explains SIGBUS, which a process gets if a mapped file becomes shorter and what was cut off is
/// read. The process ends with an error all the same.
#[cfg(unix)]
pub fn explain_cut_files() {
    let end = || {
        // SAFETY: file 2 is standard error, which stays open: it is never dropped here.
        #[allow(unsafe_code)]
        let error = ManuallyDrop::new(unsafe { File::from_raw_fd(2) });
        // Within a handler only system calls are safe; this is one, and so is the next.
        drop((&*error).write_all(CUT));
        signal_hook::low_level::exit(1);
    };
    // SAFETY: the handler allocates nothing and takes no lock.
    #[allow(unsafe_code)]
    let registered = unsafe { signal_hook::low_level::register(signal_hook::consts::SIGBUS, end) };
    // Without the handler the process ends at the signal, with fewer words.
    drop(registered);
}

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
    /// The server is not alive any more: a thread of it has panicked, or could not start.
    pub fn wait(&self, alive: impl Fn() -> bool) -> Result<()> {
        while !self.0.load(Ordering::Relaxed) {
            ensure!(
                alive(),
                "a thread of the server has ended after a panic, or the system refused one"
            );
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}
