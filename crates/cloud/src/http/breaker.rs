//! The circuit breaker: after some failures in a row nobody waits for the
//! server any more; probes in the background find out when it is back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::http::BreakerConfig;

/// Closed while `failures` stays below the limit.
#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    pause: Duration,
    /// When the next probe may go out; `None` while one is under way.
    probe_at: Option<Instant>,
}

/// What an ask may do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    /// Ask.
    Go,
    /// Give up at once, and start a probe in the background.
    Probe,
    /// Give up at once.
    Stop,
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Breaker { config, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Three plain values: a panic elsewhere leaves them usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> u32 {
        self.config.failures.max(1)
    }

    /// Whether to ask now. [`Permit::Probe`] is given once until its outcome is
    /// recorded.
    pub(crate) fn permit(&self, now: Instant) -> Permit {
        let mut state = self.state();
        if state.failures < self.limit() {
            return Permit::Go;
        }
        if state.probe_at.is_some_and(|at| now >= at) {
            state.probe_at = None;
            return Permit::Probe;
        }
        Permit::Stop
    }

    /// The server answered: the circuit closes.
    pub(crate) fn well(&self) {
        *self.state() = State::default();
    }

    /// The server failed at an ordinary ask.
    pub(crate) fn sick(&self, now: Instant) {
        let mut state = self.state();
        if state.failures < self.limit() {
            state.failures += 1;
            if state.failures == self.limit() {
                state.pause = self.config.pause;
                state.probe_at = Some(now + state.pause);
            }
        }
    }

    /// A probe failed: the next one waits twice as long.
    pub(crate) fn still_sick(&self, now: Instant) {
        let mut state = self.state();
        if state.failures >= self.limit() {
            state.pause = (state.pause * 2).min(self.config.longest);
            state.probe_at = Some(now + state.pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_failures_in_a_row_probes_ever_more_rarely_and_closes() {
        let pause = Duration::from_millis(100);
        let longest = Duration::from_millis(150);
        let breaker = Breaker::new(BreakerConfig { failures: 2, pause, longest });
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        breaker.sick(at(0));
        breaker.well();
        breaker.sick(at(0));
        assert_eq!(breaker.permit(at(0)), Permit::Go, "not two in a row");
        breaker.sick(at(0));
        assert_eq!(breaker.permit(at(99)), Permit::Stop);
        assert_eq!(breaker.permit(at(100)), Permit::Probe);
        assert_eq!(breaker.permit(at(500)), Permit::Stop, "one probe at a time");
        breaker.still_sick(at(500));
        breaker.sick(at(600));
        assert_eq!(breaker.permit(at(649)), Permit::Stop);
        assert_eq!(breaker.permit(at(650)), Permit::Probe);
        breaker.still_sick(at(650));
        assert_eq!(breaker.permit(at(800)), Permit::Probe, "150 ms is the longest pause");
        breaker.well();
        assert_eq!(breaker.permit(at(800)), Permit::Go);
    }
}
