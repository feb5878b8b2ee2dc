//! Speculation changes only the time of an answer.

use tokenroute_core::{Ask, Cause, Llm, Origin, Scorer, Trace, TraceToken};
use tokenroute_llm::{InProcess, Scripted, ToyModel};
use tokenroute_runtime::{Budget, Pair, Policy, Wait, decode};

use crate::lab::{
    Distant, Hidden, MAX_TOKENS, Oracle, Remembers, Sentence, decided, lookahead, policy, prompts,
    requests, run, speculate, tau,
};

/// The tokens, without the fields that depend on time.
fn tokens(traces: &[Trace]) -> Vec<Vec<TraceToken>> {
    traces.iter().map(decided).collect()
}

#[test]
fn the_tokens_are_those_of_blocking_decoding() {
    let prompts = prompts(7);
    let vocabulary = ToyModel::vocabulary();
    let mut spoken = 0;
    let mut kept = 0;
    for seed in 0..16 {
        let slm = ToyModel::new(seed);
        let make = || ToyModel::following(seed + 100, &slm, 0.2 + 0.7 * (seed % 4) as f32 / 3.0);
        let scorer: &dyn Scorer = match seed % 4 {
            0 => &Oracle,
            1 => &Sentence,
            2 => &Remembers,
            _ => &Hidden,
        };
        let t = [0.1, 0.3, 0.6, 1.0][(seed / 2 % 4) as usize];
        let llm = InProcess::new(make());
        let pair = Pair::new(&slm, &llm, &vocabulary);
        let blocking = decode(pair, scorer, tau(t), &requests(&prompts), 4).expect("no errors");
        let blocked: u64 = blocking.iter().map(|t| t.llm_calls).sum();
        for wait in [
            Wait::Block,
            speculate(1, 0),
            speculate(1, 2),
            speculate(2, 1),
            speculate(3, 6),
            speculate(9, 40),
        ] {
            let distant = Distant::new(make(), seed);
            let traces = run(&slm, &distant, scorer, policy(t, wait), &prompts);
            assert_eq!(tokens(&traces), tokens(&blocking), "seed {seed}, τ {t}, {wait:?}");
            let used: u64 = traces.iter().map(|t| t.llm_calls - t.wasted_calls).sum();
            assert_eq!(used, blocked, "every token of the LLM took one call");
            spoken += traces.iter().map(|t| t.speculated).sum::<u64>();
            kept += traces.iter().map(|t| t.speculated - t.rolled_back).sum::<u64>();
        }
    }
    assert!(spoken > 1000 && kept > 300, "{kept} of {spoken} speculated positions were kept");
}

#[test]
fn what_the_llm_says_beyond_its_token_saves_calls_and_changes_no_token() {
    let prompts = prompts(7);
    let vocabulary = ToyModel::vocabulary();
    let (mut calls, mut fewer) = (0, 0);
    for seed in 0..12 {
        let slm = ToyModel::new(seed);
        let make = || ToyModel::following(seed + 100, &slm, 0.7);
        let scorer: &dyn Scorer = [&Oracle as &dyn Scorer, &Hidden, &Remembers][seed as usize % 3];
        let t = [0.2, 0.5, 0.9][(seed % 3) as usize];
        let llm = InProcess::new(make());
        let pair = Pair::new(&slm, &llm, &vocabulary);
        let blocking = decode(pair, scorer, tau(t), &requests(&prompts), 4).expect("no errors");
        for (ahead, wait) in
            [(2, Wait::Block), (4, Wait::Block), (30, speculate(1, 2)), (3, speculate(3, 6))]
        {
            let policy = lookahead(ahead, policy(t, wait));
            let traces = run(&slm, &Distant::new(make(), seed), scorer, policy, &prompts);
            assert_eq!(tokens(&traces), tokens(&blocking), "seed {seed}, {ahead}, {wait:?}");
            calls += blocking.iter().map(|t| t.llm_calls).sum::<u64>();
            fewer += traces.iter().map(|t| t.llm_calls - t.wasted_calls).sum::<u64>();
        }
    }
    assert!(fewer < calls * 3 / 4, "{fewer} of {calls} calls");
}

#[test]
fn speculation_wastes_no_more_calls_than_it_may() {
    let prompts = prompts(8);
    let mut most = 0;
    for seed in 0..8 {
        let slm = ToyModel::new(seed);
        let make = || ToyModel::following(seed + 9, &slm, 0.4);
        let of = |max_extra, ahead, wait| {
            let policy = Policy { max_extra, ..lookahead(ahead, policy(0.7, wait)) };
            run(&slm, &Distant::new(make(), seed), &Hidden, policy, &prompts)
        };
        let blocking = of(None, 1, Wait::Block);
        for (cap, ahead) in [(0, 1), (1, 1), (5, 1), (0, 6), (3, 6)] {
            let traces = of(Some(cap), ahead, speculate(4, 12));
            assert_eq!(tokens(&traces), tokens(&blocking), "seed {seed}");
            assert!(traces.iter().all(|t| t.wasted_calls <= cap), "seed {seed}");
        }
        most = most
            .max(of(None, 1, speculate(4, 12)).iter().map(|t| t.wasted_calls).max().unwrap_or(0));
    }
    assert!(most > 5, "without a cap more is wasted: {most}");
}

#[test]
fn a_wait_is_counted_once_for_round_trips_that_overlap() {
    let prompts = prompts(8);
    let mut saved = 0;
    for seed in 0..8 {
        let slm = ToyModel::new(seed);
        let make = || ToyModel::following(seed + 9, &slm, 0.9);
        let of =
            |wait| run(&slm, &Distant::new(make(), seed), &Hidden, policy(0.6, wait), &prompts);
        for (blocking, ahead) in of(Wait::Block).iter().zip(of(speculate(2, 8))) {
            assert_eq!(blocking.waits, blocking.llm_calls, "each call is waited for");
            assert!(ahead.waits <= blocking.waits);
            assert_eq!(ahead.waits > 0, blocking.waits > 0, "the first is waited for");
            saved += blocking.waits - ahead.waits;
        }
    }
    assert!(saved > 50, "{saved} waits saved");
}

#[test]
fn a_failure_degrades_where_blocking_decoding_would() {
    let prompts = prompts(7);
    let vocabulary = ToyModel::vocabulary();
    for seed in 0..12 {
        let slm = ToyModel::new(seed);
        let distant = || Distant {
            failing: 0.3,
            ..Distant::new(ToyModel::following(seed + 50, &slm, 0.5), seed)
        };
        let llm = distant();
        let pair = Pair::new(&slm, &llm, &vocabulary);
        for t in [0.4, 1.0] {
            let blocking = decode(pair, &Hidden, tau(t), &requests(&prompts), 4).expect("degrades");
            assert!(blocking.iter().any(|t| t.degraded() > 0));
            for wait in [Wait::Block, speculate(1, 3), speculate(3, 8)] {
                let traces = run(&slm, &distant(), &Hidden, policy(t, wait), &prompts);
                assert_eq!(tokens(&traces), tokens(&blocking), "seed {seed}, {wait:?}");
            }
        }
    }
}

#[test]
fn under_random_failures_every_token_follows_the_rule() {
    let prompts = prompts(9);
    let vocabulary = ToyModel::vocabulary();
    let mut degraded = 0;
    for seed in 0..12 {
        let slm = ToyModel::new(seed);
        let make = || ToyModel::following(seed + 50, &slm, 0.5);
        let truth = InProcess::new(make());
        let distant = Distant { flaky: 0.4, ..Distant::new(make(), seed) };
        let traces = run(&slm, &distant, &Hidden, policy(0.6, speculate(2, 4)), &prompts);
        for (prompt, trace) in prompts.iter().zip(&traces) {
            let mut context = prompt.clone();
            for token in &trace.tokens {
                let offload = token.score < 0.6;
                match token.origin {
                    Origin::Slm => assert!(!offload),
                    Origin::Degraded => {
                        assert!(offload && token.cause == Some(Cause::Unavailable));
                    }
                    Origin::Llm => {
                        let ask = Ask::greedy(&context, context.len());
                        let said = truth.ask(&[ask]).remove(0).expect("a toy's answer");
                        assert!(offload && token.token == vocabulary.canonical(said.tokens[0]));
                    }
                }
                context.push(token.token);
            }
            degraded += trace.degraded();
        }
    }
    assert!(degraded > 50, "{degraded} degraded tokens");
}

#[test]
fn what_the_llm_agrees_with_costs_nothing() {
    let slm = ToyModel::new(3);
    let prompts = prompts(8);
    let distant = Distant::new(ToyModel::following(4, &slm, 1.0), 5);
    let traces = run(&slm, &distant, &Hidden, policy(0.5, speculate(1, 4)), &prompts);
    assert!(traces.iter().map(|t| t.speculated).sum::<u64>() > 0);
    for trace in traces {
        assert_eq!((trace.rolled_back, trace.wasted_calls, trace.wasted_positions), (0, 0, 0));
        assert_eq!(trace.llm_calls as usize, trace.offloaded());
    }
}

#[test]
fn a_budget_binds_branches_as_it_binds_the_answer() {
    let prompts = prompts(6);
    for seed in 0..6 {
        let slm = ToyModel::new(seed);
        let make = || ToyModel::following(seed + 9, &slm, 0.5);
        let budget = Budget::new(0.25).expect("a share");
        let of = |wait| {
            let policy = Policy { budget, ..policy(0.7, wait) };
            run(&slm, &Distant::new(make(), seed), &Sentence, policy, &prompts)
        };
        assert_eq!(tokens(&of(speculate(3, 9))), tokens(&of(Wait::Block)), "seed {seed}");
    }
}

#[test]
fn an_llm_that_panics_is_one_that_fails() {
    let slm = ToyModel::new(6);
    let prompts = prompts(2);
    let broken = Scripted::new(|_| panic!("on purpose"));
    let traces = run(&slm, &broken, &Hidden, policy(1.0, speculate(2, 2)), &prompts);
    for trace in traces {
        assert_eq!(trace.degraded(), trace.tokens.len());
        assert!(trace.tokens.iter().all(|t| t.cause == Some(Cause::Unavailable)));
        assert!(trace.tokens.len() <= MAX_TOKENS);
    }
}
