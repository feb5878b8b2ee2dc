//! Whether the thread that makes the answers still runs. Without it a server must say so: its
//! `/health` fails, and the command ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by a worker thread, its server and `/health`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Liveness(Arc<AtomicBool>);

impl Liveness {
    /// A guard for the worker thread. Dropping it, by a panic too, means that the thread has
    /// ended.
    pub(crate) fn guard(&self) -> Alive {
        Alive(self.clone())
    }

    /// Whether the guard is still held.
    pub(crate) fn is_alive(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }
}

/// Held by the worker thread.
#[derive(Debug)]
pub(crate) struct Alive(Liveness);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Release);
    }
}
