//! A second attempt beside a slow first one. The faster answer counts.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokenroute_core::LlmError;

use crate::http::transport::Failure;

/// Runs an attempt on a thread of its own, and after this time a second one beside it; `second`
/// is called before that. A failed attempt counts only if the other one fails too. An attempt
/// that panics, or that gets no thread, has failed.
pub(super) fn hedged<T: Send + 'static>(
    after: Duration,
    attempt: impl Fn() -> Result<T, Failure> + Clone + Send + 'static,
    second: impl FnOnce(),
) -> Result<T, Failure> {
    let (send, receive) = mpsc::channel();
    let start = |send: mpsc::Sender<_>| {
        let attempt = attempt.clone();
        // The receiver is dropped if the other attempt was faster. Without a thread the sender
        // is dropped.
        drop(thread::Builder::new().spawn(move || drop(send.send(attempt()))));
    };
    start(send.clone());
    let lost = || Failure::passing(LlmError::Unavailable("its worker was lost".to_owned()));
    if let Ok(result) = receive.recv_timeout(after) {
        return result;
    }
    second();
    // Only the two threads hold a sender now, so losing both ends the wait.
    start(send);
    match receive.recv().unwrap_or_else(|_| Err(lost())) {
        Ok(reply) => Ok(reply),
        Err(_) => receive.recv().unwrap_or_else(|_| Err(lost())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// The result of two attempts, the first of which is slow, or nothing if it does not come.
    fn race(of: fn(u32) -> Result<u32, Failure>) -> Option<Result<u32, Failure>> {
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let count = Arc::new(AtomicU32::new(0));
            let attempt = move || {
                let number = count.fetch_add(1, Ordering::SeqCst);
                if number == 0 {
                    thread::sleep(Duration::from_millis(200));
                }
                of(number)
            };
            send.send(hedged(Duration::from_millis(1), attempt, || {})).expect("a receiver");
        });
        receive.recv_timeout(Duration::from_secs(20)).ok()
    }

    fn failed() -> Failure {
        Failure::passing(LlmError::Refused("no".to_owned()))
    }

    #[test]
    fn a_hedged_call_ends_though_both_of_its_threads_panic() {
        let both = race(|number| panic!("attempt {number}")).expect("an end");
        assert!(matches!(both.expect_err("no answer").error, LlmError::Unavailable(_)));
        let first = race(|number| if number == 0 { panic!("the first") } else { Ok(7) });
        assert_eq!(first.expect("an end").expect("an answer"), 7);
    }

    #[test]
    fn a_failure_counts_only_if_the_other_attempt_fails_too() {
        let second = race(|number| if number == 1 { Err(failed()) } else { Ok(7) });
        assert_eq!(second.expect("an end").expect("an answer"), 7);
        assert!(race(|_| Err(failed())).expect("an end").is_err());
    }
}
