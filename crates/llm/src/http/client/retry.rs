//! Attempts until one succeeds or no more may help, and the probe of a server that is down.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokenroute_core::LlmError;
use tokio::time::sleep;

use super::{Inner, after};
use crate::http::breaker::OpenCircuit;
use crate::http::transport::Failure;

/// First pause before a retry. It doubles each time, and is shortened at random by up to
/// a half.
const BACKOFF: Duration = Duration::from_millis(20);

/// Probes the server in the background, until it answers or the client is dropped. A probe
/// asks for no token.
async fn probe(client: Weak<Inner>, opening: OpenCircuit) {
    loop {
        let pause = client.upgrade().and_then(|inner| inner.breaker.pause(opening));
        let Some(pause) = pause else { return };
        sleep(pause).await;
        let Some(inner) = client.upgrade() else { return };
        let path = inner.server.get().map_or("/v1/models", |server| server.api.probe_path());
        let answered = inner.transport.responds(path, after(inner.config.total)).await;
        inner.breaker.probed(opening, answered);
    }
}

impl Inner {
    /// Makes attempts until one succeeds or no more may help.
    pub(super) fn persist<T>(
        self: &Arc<Self>,
        deadline: Instant,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, LlmError> {
        let mut pause = BACKOFF;
        let mut attempts = 1;
        let mut last = None;
        loop {
            if self.breaker.is_open() {
                // A failure of this ask is more precise than the open circuit.
                let base = self.transport.base();
                let open = || {
                    LlmError::Unavailable(format!(
                        "{base} failed too often; it is probed until it answers"
                    ))
                };
                return Err(last.unwrap_or_else(open));
            }
            let failure = match attempt() {
                Ok(reply) => {
                    self.breaker.succeeded();
                    return Ok(reply);
                }
                Err(failure) => failure,
            };
            if failure.unhealthy
                && let Some(opening) = self.breaker.failed()
            {
                self.transport.spawn(probe(Arc::downgrade(self), opening));
            }
            let jittered = pause.mul_f64(0.5 + 0.5 * fastrand::f64());
            let wait = failure.retry_after.unwrap_or_default().max(jittered);
            let late = wait >= deadline.saturating_duration_since(Instant::now());
            if !failure.retry || late || attempts >= self.config.attempts {
                return Err(failure.error);
            }
            last = Some(failure.error);
            thread::sleep(wait);
            pause *= 2;
            attempts += 1;
        }
    }
}
