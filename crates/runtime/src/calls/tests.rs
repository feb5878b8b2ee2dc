//! Calls on threads: those that the system allows make them, in order of need.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tokenroute_llm::{Scripted, ToyModel};

use super::*;

const SOON: Duration = Duration::from_secs(20);
const ONE: Wanted = Wanted { tokens: 1, sampling: None, top: 0 };

fn landed(mail: &Receiver<Mail>) -> CallId {
    match mail.recv_timeout(SOON).expect("a reply") {
        Mail::Result(call, said) => said.map(|_| call).expect("an answer"),
        Mail::Wake => panic!("nobody wakes the engine"),
    }
}

#[test]
fn the_threads_that_the_system_allows_make_the_calls() {
    let (llm, vocabulary) = (Scripted::new(|_| Ok(3)), ToyModel::vocabulary());
    let calls = Calls { threads: 4, together: 1 };
    for allowed in [0, 1, 3, 4] {
        thread::scope(|scope| {
            let (sender, mail) = channel();
            let mut started = 0;
            let spawn = |work: Box<dyn FnOnce() + Send>| {
                started += 1;
                started <= allowed && {
                    scope.spawn(work);
                    true
                }
            };
            let mut caller = Caller::started(&llm, &vocabulary, sender, calls, spawn);
            for _ in 0..6 {
                caller.submit(SessionId(0), &[1], ONE, false);
            }
            caller.flush();
            let mut calls: Vec<CallId> = (0..6).map(|_| landed(&mail)).collect();
            calls.sort_unstable();
            assert_eq!(calls, [0, 1, 2, 3, 4, 5], "{allowed} threads");
        });
    }
}

/// Forgets slowly, and records what it is asked in order.
#[derive(Default)]
struct Slow {
    record: Mutex<Vec<&'static str>>,
    other: Condvar,
}

impl Llm for Slow {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<CallResult> {
        let other = asks[0].context[0] == 9;
        self.record.lock().expect("a lock").push(if other { "other" } else { "same" });
        self.other.notify_all();
        asks.iter().map(|_| Ok(Reply { tokens: vec![3], ..Reply::default() })).collect()
    }

    fn forget(&self, _: &[TokenId]) {
        // Another prompt's call is made meanwhile.
        let record = self.record.lock().expect("a lock");
        let waits = |record: &mut Vec<_>| record.is_empty();
        let (mut record, late) =
            self.other.wait_timeout_while(record, SOON, waits).expect("a lock");
        assert!(!late.timed_out(), "a call with another prompt waited");
        record.push("forgot");
    }
}

#[test]
fn a_call_comes_after_its_prompt_is_forgotten() {
    let (llm, vocabulary) = (Slow::default(), ToyModel::vocabulary());
    thread::scope(|scope| {
        let (sender, mail) = channel();
        let calls = Calls { threads: 3, together: 4 };
        let mut caller = Caller::threads(scope, &llm, &vocabulary, sender, calls);
        caller.forget(vec![1, 2]);
        caller.submit(SessionId(0), &[1, 2, 3], ONE, true);
        caller.submit(SessionId(0), &[9], ONE, false);
        // The record below has their order; mail of two threads has none.
        let mut calls = [landed(&mail), landed(&mail)];
        calls.sort_unstable();
        assert_eq!(calls, [0, 1]);
    });
    let record = llm.record.into_inner().expect("no panic");
    assert_eq!(record, ["other", "forgot", "same"]);
}
