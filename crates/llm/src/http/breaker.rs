//! The circuit breaker: after some failures in a row nobody waits for the
//! server any more. Probes in the background find out when it answers again,
//! whether or not anybody asks; only a real answer counts as well.

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
pub(crate) struct Opening(u64);

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

    /// Whether to give up at once.
    pub(crate) fn is_open(&self) -> bool {
        self.state().failures >= self.limit()
    }

    /// The server answered: the circuit closes, and what was is forgotten.
    pub(crate) fn well(&self) {
        let mut state = self.state();
        (state.failures, state.pause) = (0, Duration::ZERO);
    }

    /// The server failed. Where that opens the circuit, the caller has to probe.
    pub(crate) fn sick(&self) -> Option<Opening> {
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
        Some(Opening(state.openings))
    }

    /// How long to wait before the next probe; `None` if there is no need of one.
    pub(crate) fn pause(&self, opening: Opening) -> Option<Duration> {
        let state = self.state();
        self.concerns(&state, opening).then_some(state.pause)
    }

    /// Whether the circuit is open since then.
    fn concerns(&self, state: &State, opening: Opening) -> bool {
        state.failures >= self.limit() && state.openings == opening.0
    }

    /// A probe came back. One that was answered lets asks through again, but a server
    /// may answer probes and fail at asks: the next failure opens the circuit at once,
    /// for longer than before.
    pub(crate) fn probed(&self, opening: Opening, answered: bool) {
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
        assert_eq!(breaker.sick(), None);
        breaker.well();
        assert_eq!(breaker.sick(), None);
        assert!(!breaker.is_open(), "not two in a row");
        let opening = breaker.sick().expect("two in a row");
        assert!(breaker.is_open());
        assert_eq!(breaker.sick(), None, "one prober for one opening");
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
            let mut opening = (0..failures).find_map(|_| breaker.sick()).expect("open");
            for pause in [100, 200, 350, 350] {
                assert_eq!(breaker.pause(opening), ms(pause));
                breaker.probed(opening, true);
                assert!(!breaker.is_open());
                opening = breaker.sick().expect("one failure is enough now");
            }
            breaker.probed(opening, true);
            breaker.well();
            opening = (0..failures).find_map(|_| breaker.sick()).expect("open");
            assert_eq!(breaker.pause(opening), ms(100), "a real answer forgets");
        }
    }

    #[test]
    fn a_prober_of_before_has_nothing_to_do_and_no_say() {
        let (breaker, ms) = breaker(1);
        let before = breaker.sick().expect("open");
        // An ask that was under way came back well, and the next one failed.
        breaker.well();
        assert_eq!(breaker.pause(before), None);
        let now = breaker.sick().expect("open");
        assert_eq!(breaker.pause(before), None);
        breaker.probed(before, true);
        assert_eq!((breaker.is_open(), breaker.pause(now)), (true, ms(100)));
    }
}
