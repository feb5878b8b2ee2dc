//! Shutdown, phase by phase, as every connection watches it.

use tokio::sync::watch;

/// Shutdown phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Requests are accepted.
    Open,
    /// Requests under way continue; no new ones are accepted.
    Draining,
    /// Requests under way are cut off.
    Closed,
}

/// Returns once shutdown has reached this phase.
pub(super) async fn reached(phase: Phase, mut phases: watch::Receiver<Phase>) {
    // An error means that the server is gone.
    drop(phases.wait_for(|&now| now >= phase).await);
}
