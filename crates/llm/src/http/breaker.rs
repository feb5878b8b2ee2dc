//! The circuit breaker: after some failures in a row, asks fail at once. Probes in the
//! background find out when the server answers again. Only an answered ask closes the
//! circuit fully.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::http::BreakerConfig;

/// Shortest time between probes.
const SHORTEST: Duration = Duration::from_millis(10);

/// Closed while `failures` stays below the limit.
#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    /// Time to the next probe; zero since a real answer.
    pause: Duration,
    openings: u64,
}

/// One opening of the circuit. Its holder sends the probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenCircuit(u64);

impl Breaker {
    pub(crate) fn new(config: BreakerConfig) -> Self {
        Breaker { config, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave these plain values inconsistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self) -> u32 {
        self.config.failures.max(1)
    }

    /// Whether asks fail at once.
    pub(crate) fn is_open(&self) -> bool {
        self.state().failures >= self.limit()
    }

    /// The server answered an ask: the circuit closes, and earlier failures no longer count.
    pub(crate) fn succeeded(&self) {
        let mut state = self.state();
        (state.failures, state.pause) = (0, Duration::ZERO);
    }

    /// The server failed. If that opens the circuit, the caller must probe.
    pub(crate) fn failed(&self) -> Option<OpenCircuit> {
        let mut state = self.state();
        if state.failures >= self.limit() {
            return None;
        }
        state.failures += 1;
        if state.failures < self.limit() {
            return None;
        }
        state.openings += 1;
        self.grow(&mut state);
        Some(OpenCircuit(state.openings))
    }

    /// Pause before the next probe; `None` if no probe is needed.
    pub(crate) fn pause(&self, opening: OpenCircuit) -> Option<Duration> {
        let state = self.state();
        self.concerns(&state, opening).then_some(state.pause)
    }

    /// Whether the circuit is still open since this opening.
    fn concerns(&self, state: &State, opening: OpenCircuit) -> bool {
        state.failures >= self.limit() && state.openings == opening.0
    }

    /// A probe ended. An answered probe lets asks through again. A server may answer probes
    /// and fail at asks, so the next failure opens the circuit at once, for longer than
    /// before.
    pub(crate) fn probed(&self, opening: OpenCircuit, answered: bool) {
        let mut state = self.state();
        if !self.concerns(&state, opening) {
            return;
        }
        if answered {
            state.failures = self.limit() - 1;
        } else {
            self.grow(&mut state);
        }
    }

    fn grow(&self, state: &mut State) {
        let next = if state.pause.is_zero() { self.config.pause } else { state.pause * 2 };
        state.pause = next.min(self.config.longest).max(SHORTEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(failures: u32) -> (Breaker, impl Fn(u64) -> Option<Duration>) {
        let [pause, longest] = [100, 350].map(Duration::from_millis);
        let breaker = Breaker::new(BreakerConfig { failures, pause, longest });
        (breaker, |ms| Some(Duration::from_millis(ms)))
    }

    #[test]
    fn opens_after_failures_in_a_row_probes_ever_more_rarely_and_closes() {
        let (breaker, ms) = breaker(2);
        assert_eq!(breaker.failed(), None);
        breaker.succeeded();
        assert_eq!(breaker.failed(), None);
        assert!(!breaker.is_open(), "not two in a row");
        let opening = breaker.failed().expect("two in a row");
        assert!(breaker.is_open());
        assert_eq!(breaker.failed(), None, "one prober for one opening");
        for pause in [100, 200, 350, 350] {
            assert_eq!(breaker.pause(opening), ms(pause));
            breaker.probed(opening, false);
        }
        breaker.probed(opening, true);
        assert!(!breaker.is_open());
        assert_eq!(breaker.pause(opening), None, "no more probes");
    }

    #[test]
    fn answered_probes_alone_do_not_shorten_the_pause() {
        for failures in [1, 3] {
            let (breaker, ms) = breaker(failures);
            let mut opening = (0..failures).find_map(|_| breaker.failed()).expect("open");
            for pause in [100, 200, 350, 350] {
                assert_eq!(breaker.pause(opening), ms(pause));
                breaker.probed(opening, true);
                assert!(!breaker.is_open());
                opening = breaker.failed().expect("one failure is enough now");
            }
            breaker.probed(opening, true);
            breaker.succeeded();
            opening = (0..failures).find_map(|_| breaker.failed()).expect("open");
            assert_eq!(breaker.pause(opening), ms(100), "a real answer forgets");
        }
    }

    #[test]
    fn a_prober_of_before_has_nothing_to_do_and_no_say() {
        let (breaker, ms) = breaker(1);
        let before = breaker.failed().expect("open");
        // An ask that was under way came back well, and the next one failed.
        breaker.succeeded();
        assert_eq!(breaker.pause(before), None);
        let now = breaker.failed().expect("open");
        assert_eq!(breaker.pause(before), None);
        breaker.probed(before, true);
        assert_eq!((breaker.is_open(), breaker.pause(now)), (true, ms(100)));
    }
}
