//! Concurrent sessions do not delay or change one another.

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::thread;
use std::time::Duration;

use tokenroute_core::{Llm, Position, Score, ScoreError, Scorer, Tau, TokenId, Trace};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{
    Calls, Engine, Event, Pair, Policy, RuntimeError, Session, SessionId, Wait, decode,
};

use crate::lab::{
    APART, Gated, Hidden, MAX_TOKENS, decided, policy, prompts, requests, speculate, tau,
};

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

fn session(prompt: &[TokenId], policy: Policy) -> Session {
    Session { question: "q".to_owned(), prompt: prompt.to_vec(), max_tokens: MAX_TOKENS, policy }
}

/// Turns until these sessions have ended.
fn finish<L: Llm>(engine: &mut Engine<'_, ToyModel, L>, wanted: &[SessionId]) -> Vec<Trace> {
    let mut found = BTreeMap::new();
    while found.len() < wanted.len() {
        for event in engine.turn(LONG) {
            match event {
                Event::Ended { session, trace } if wanted.contains(&session) => {
                    found.insert(session, trace);
                }
                Event::Failed { error, .. } => panic!("{error}"),
                _ => {}
            }
        }
    }
    found.into_values().collect()
}

#[test]
fn a_slow_call_stalls_only_its_own_session() {
    let slm = ToyModel::new(1);
    let vocabulary = ToyModel::vocabulary();
    let make = || ToyModel::following(2, &slm, 0.5);
    let truth = InProcess::new(make());
    let prompts = [vec![5, 1], vec![4, 1], vec![3, 1]];
    let pair = Pair::new(&slm, &truth, &vocabulary);
    let expected = decode(pair, &Hidden, tau(0.9), &requests(&prompts), 3).expect("no errors");
    for wait in [Wait::Block, speculate(2, 3)] {
        let gated = Gated::new(make(), 5);
        thread::scope(|scope| {
            let pair = Pair::new(&slm, &gated, &vocabulary);
            let mut engine = Engine::new(scope, pair, &Hidden, APART);
            let mut add = |p: &[TokenId]| engine.add(session(p, policy(0.9, wait))).expect("good");
            let ids = [add(&prompts[0]), add(&prompts[1]), add(&prompts[2])];
            let both = finish(&mut engine, &ids[1..]);
            assert_eq!(engine.sessions(), 1, "the first one still waits");
            gated.open();
            let first = finish(&mut engine, &ids[..1]);
            for (trace, expected) in first.iter().chain(&both).zip(&expected) {
                assert_eq!(decided(trace), expected.tokens, "{wait:?}");
            }
        });
    }
}

#[test]
fn no_more_is_asked_ahead_than_allowed() {
    let slm = ToyModel::new(8);
    let vocabulary = ToyModel::vocabulary();
    let gated = Gated::new(ToyModel::following(9, &slm, 0.8), 1);
    let ahead = thread::scope(|scope| {
        let pair = Pair::new(&slm, &gated, &vocabulary);
        let mut engine = Engine::new(scope, pair, &Hidden, APART);
        let id = engine.add(session(&[1, 2], policy(0.5, speculate(2, 3)))).expect("good");
        let mut most = 0;
        for _ in 0..200 {
            drop(engine.turn(Duration::ZERO));
            most = most.max(engine.calls());
        }
        gated.open();
        finish(&mut engine, &[id]);
        most
    });
    assert_eq!(ahead, 1 + 3, "one call for the answer, three ahead");
}

#[test]
fn what_was_decided_during_a_wait_is_marked() {
    let slm = ToyModel::new(8);
    let vocabulary = ToyModel::vocabulary();
    let make = || ToyModel::following(9, &slm, 1.0);
    let truth = InProcess::new(make());
    let pair = Pair::new(&slm, &truth, &vocabulary);
    // An answer that continues after its lowest score, which is the routed one.
    let (prompt, lowest, score) = (0..14)
        .find_map(|second| {
            let prompt = vec![1, second];
            let traces = decode(pair, &Hidden, Tau::SLM_ONLY, &requests(from_ref(&prompt)), 1);
            let tokens = traces.expect("no errors").remove(0).tokens;
            let order = |&i: &usize, &j: &usize| tokens[i].score.total_cmp(&tokens[j].score);
            let lowest = (0..tokens.len()).min_by(order)?;
            (lowest + 2 < tokens.len()).then(|| (prompt, lowest, tokens[lowest].score))
        })
        .expect("such a prompt");
    for wait in [Wait::Block, speculate(1, 0)] {
        let gated = Gated::new(make(), 1);
        let trace = thread::scope(|scope| {
            let pair = Pair::new(&slm, &gated, &vocabulary);
            let mut engine = Engine::new(scope, pair, &Hidden, APART);
            let id = engine.add(session(&prompt, policy(score.next_up(), wait))).expect("good");
            // Enough turns for every token that needs no call.
            for _ in 0..2 * MAX_TOKENS {
                drop(engine.turn(Duration::ZERO));
            }
            gated.open();
            finish(&mut engine, &[id]).remove(0)
        });
        let ahead = wait != Wait::Block;
        for (i, token) in trace.tokens.iter().enumerate() {
            assert_eq!(token.speculated, ahead && i > lowest, "token {i}, {wait:?}");
        }
        assert_eq!(trace.speculated_tokens() > 0, ahead);
    }
}

#[test]
fn sessions_join_between_turns_and_leave_at_any_time() {
    let slm = ToyModel::new(2);
    let vocabulary = ToyModel::vocabulary();
    let llm = InProcess::new(ToyModel::following(3, &slm, 0.5));
    let prompts = prompts(6);
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let expected = decode(pair, &Hidden, tau(0.5), &requests(&prompts), 1).expect("no errors");
    let together = Calls { threads: 1, together: 64 };
    thread::scope(|scope| {
        let mut engine = Engine::new(scope, pair, &Hidden, together);
        let mut ids = Vec::new();
        for prompt in &prompts {
            let policy = policy(0.5, speculate(1, 1));
            ids.push(engine.add(session(prompt, policy)).expect("good"));
            let gone = engine.add(session(&[9, 9], policy)).expect("good");
            assert!(engine.cancel(gone).is_some());
            assert!(engine.cancel(gone).is_none(), "it is gone");
            let traces = finish(&mut engine, &ids[ids.len() - 1..]);
            assert_eq!(decided(&traces[0]), expected[ids.len() - 1].tokens);
        }
        assert_eq!(engine.sessions(), 0);
    });
}

#[test]
fn a_waiting_turn_can_be_woken() {
    let slm = ToyModel::new(2);
    let vocabulary = ToyModel::vocabulary();
    let llm = InProcess::new(ToyModel::new(3));
    thread::scope(|scope| {
        let mut engine = Engine::new(scope, Pair::new(&slm, &llm, &vocabulary), &Hidden, APART);
        let waker = engine.waker();
        scope.spawn(move || waker.wake());
        assert_eq!(engine.turn(LONG), [], "nothing happened but the call");
        engine.waker().wake();
        assert_eq!(engine.turn(LONG), [], "a call before the wait counts");
        assert_eq!(engine.turn(Duration::from_millis(1)), [], "patience has an end");
    });
}

#[test]
fn a_session_that_fails_takes_no_other_with_it() {
    /// Fails for one question.
    struct Picky;
    impl Scorer for Picky {
        fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
            let bad = position.question == "bad" && position.index == 2;
            Score::new(if bad { f64::NAN } else { position.step.hidden[0].into() })
        }
    }
    let slm = ToyModel::new(2);
    let vocabulary = ToyModel::vocabulary();
    let llm = InProcess::new(ToyModel::following(3, &slm, 0.9));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let mut engine = Engine::inline(pair, &Picky);
    let good = session(&[1, 2], Policy::new(Tau::SLM_ONLY));
    let first = engine.add(Session { question: "bad".to_owned(), ..good.clone() }).expect("so far");
    let second = engine.add(good.clone()).expect("good");
    let long = Session { prompt: vec![1; 4096], ..good.clone() };
    let long = engine.add(long).expect("it just fits");
    let (mut failed, mut ended) = (Vec::new(), Vec::new());
    while engine.sessions() > 0 {
        for event in engine.turn(LONG) {
            match event {
                Event::Failed { session, error, trace } => {
                    failed.push((session, trace.tokens.len()));
                    assert!(matches!(error, RuntimeError::Score { .. } | RuntimeError::Model(_)));
                }
                Event::Ended { session, .. } => ended.push(session),
                _ => {}
            }
        }
    }
    failed.sort();
    assert_eq!(failed, [(first, 2), (long, 1)]);
    assert_eq!(ended, [second]);
    for prompt in [vec![], vec![16], vec![1; 4097]] {
        assert!(engine.add(Session { prompt, ..good.clone() }).is_err());
    }
}

#[test]
fn a_session_at_which_the_slm_fails_fails_alone() {
    // The SLM breaks after token 7: in a prompt, in an answer, or in a speculated branch.
    let make = || ToyModel::following(9, &ToyModel::new(8), 0.6);
    let (slm, broken, vocabulary) = (make(), make().breaking_at(7), ToyModel::vocabulary());
    let mut prompts = prompts(24);
    prompts.extend([vec![7], vec![1, 7, 2], vec![2, 3, 7]]);
    for (wait, tau) in [(Wait::Block, 0.0), (Wait::Block, 0.5), (speculate(3, 4), 0.5)] {
        let llm = InProcess::new(ToyModel::new(8));
        let pair = Pair::new(&slm, &llm, &vocabulary);
        let alone = decode(pair, &Hidden, self::tau(tau), &requests(&prompts), 1).expect("sound");
        let llm = InProcess::new(ToyModel::new(8));
        let mut ended = BTreeMap::new();
        thread::scope(|scope| {
            let pair = Pair::new(&broken, &llm, &vocabulary);
            let mut engine = Engine::new(scope, pair, &Hidden, APART);
            let ids: Vec<SessionId> = prompts
                .iter()
                .map(|prompt| engine.add(session(prompt, policy(tau, wait))).expect("good"))
                .collect();
            while ended.len() < ids.len() {
                for event in engine.turn(LONG) {
                    match event {
                        Event::Ended { session, trace } => drop(ended.insert(session, Ok(trace))),
                        Event::Failed { session, error, .. } => {
                            ended.insert(session, Err(error));
                        }
                        _ => {}
                    }
                }
            }
        });
        let mut failed = 0;
        for ((prompt, alone), ended) in prompts.iter().zip(&alone).zip(ended.values()) {
            // The last token of an answer is not read.
            let read = &alone.tokens[..alone.tokens.len() - 1];
            let breaks = prompt.contains(&7) || read.iter().any(|token| token.token == 7);
            match ended {
                Ok(trace) => assert_eq!(decided(trace), decided(alone), "{prompt:?}"),
                Err(error) => assert!(matches!(error, RuntimeError::Model(_)), "{error}"),
            }
            assert_eq!(ended.is_err(), breaks, "{prompt:?} at τ = {tau}");
            failed += usize::from(breaks);
        }
        assert!((4..20).contains(&failed), "{failed} sessions met token 7");
    }
}
