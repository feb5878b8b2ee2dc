//! Budget, relay, deadline and warm-up.

use std::time::Duration;

use tokenroute_core::{Ask, Cause, Llm, Origin, Tau, TokenId, Trace, TraceToken};
use tokenroute_llm::{InProcess, Scripted, ToyModel};
use tokenroute_runtime::{Budget, Pair, Policy, RoutedDecoding, Wait, greedy};

use crate::lab::{
    APART, Distant, Gated, Hidden, MAX_TOKENS, at_least_one, policy, prompts, requests, run,
    speculate,
};

fn llm(slm: &ToyModel) -> Distant {
    Distant::new(ToyModel::following(77, slm, 0.5), 1)
}

fn budget(share: f64) -> Budget {
    Budget::new(share).expect("a share")
}

#[test]
fn a_budget_is_never_exceeded_once_it_is_worth_a_token() {
    let slm = ToyModel::new(1);
    let prompts = prompts(20);
    for share in [0.0, 0.07, 0.1, 0.3, 0.5, 0.99] {
        let policy = Policy { budget: budget(share), ..policy(0.8, Wait::Block) };
        let traces = run(&slm, &llm(&slm), &Hidden, policy, &prompts);
        for trace in &traces {
            let mut offloaded = 0;
            for (n, token) in (1..).zip(&trace.tokens) {
                offloaded += usize::from(token.origin == Origin::Llm);
                if n as f64 * share >= 1.0 || share == 0.0 {
                    assert!(offloaded as f64 <= share * n as f64 + 1e-9, "{offloaded} of {n}");
                }
            }
            let held = |t: &&TraceToken| t.origin == Origin::Slm && t.score < 0.8;
            assert_eq!(trace.held as usize, trace.tokens.iter().filter(held).count());
        }
        let early = traces.iter().filter(|t| t.offloaded() > 0).count();
        assert_eq!(early > 0, share > 0.0, "a share worth less than a token gives one");
    }
}

#[test]
fn what_an_answer_leaves_of_a_budget_over_answers_another_may_spend() {
    let slm = ToyModel::new(1);
    let prompts = prompts(60);
    let asked = |t: &Trace| t.tokens.iter().filter(|t| t.origin != Origin::Slm).count();
    for share in [0.0, 0.05, 0.2] {
        let one_by_one = |budget, wait| {
            let policy = Policy { budget, ..policy(0.6, wait) };
            let (llm, vocabulary) = (llm(&slm), ToyModel::vocabulary());
            let pair = Pair::new(&slm, &llm, &vocabulary);
            let calls = Some(APART);
            let requests = requests(&prompts);
            let decoding = RoutedDecoding::new(pair, &Hidden, policy);
            RoutedDecoding { calls, batch: 1, ..decoding }.run(&requests).expect("traces")
        };
        let shared = one_by_one(budget(share).over_answers(), Wait::Block);
        let (mut made, mut spent) = (0, 0);
        for trace in &shared {
            made += trace.tokens.len();
            spent += asked(trace);
            assert!(spent as f64 <= 1.0 + share * made as f64, "{spent} of {made}");
        }
        assert!(spent as f64 >= 0.9 * share * made as f64, "{spent} of {made} at {share}");
        let each = one_by_one(budget(share), Wait::Block);
        if share == 0.2 {
            let each: usize = each.iter().map(asked).sum();
            assert!(spent > each, "{spent} against {each} with a budget for each answer");
        }
        let ahead = one_by_one(budget(share).over_answers(), speculate(2, 4));
        for (blocking, ahead) in shared.iter().zip(&ahead) {
            assert!(blocking.ids().eq(ahead.ids()), "speculation changes a token");
        }
    }
}

#[test]
fn a_budget_over_answers_goes_to_the_lowest_scores() {
    let slm = ToyModel::new(1);
    let prompts = prompts(200);
    let policy = Policy { budget: budget(0.2).over_answers(), ..policy(1.0, Wait::Block) };
    let (llm, vocabulary, requests) = (llm(&slm), ToyModel::vocabulary(), requests(&prompts));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let decoding = RoutedDecoding { batch: 1, ..RoutedDecoding::new(pair, &Hidden, policy) };
    let traces = decoding.run(&requests);
    let traces = traces.expect("traces");
    // At τ = 1 every token is routed: all scores are below it.
    let late = traces[100..].iter().flat_map(|t| &t.tokens);
    let (asked, held): (Vec<_>, Vec<_>) = late.partition(|t| t.origin == Origin::Llm);
    let mean =
        |tokens: &[&TraceToken]| tokens.iter().map(|t| t.score).sum::<f64>() / tokens.len() as f64;
    let (asked, held) = (mean(&asked), mean(&held));
    assert!(asked < 0.5 * held, "scores of {asked} asked, of {held} held");
}

#[test]
fn a_whole_budget_changes_nothing_and_none_is_the_slm_alone() {
    let slm = ToyModel::new(2);
    let prompts = prompts(10);
    let free = run(&slm, &llm(&slm), &Hidden, policy(0.6, Wait::Block), &prompts);
    let whole = Policy { budget: budget(1.0), ..policy(0.6, Wait::Block) };
    assert_eq!(run(&slm, &llm(&slm), &Hidden, whole, &prompts), free);
    let none = Policy { budget: budget(0.0), ..policy(1.0, Wait::Block) };
    let traces = run(&slm, &llm(&slm), &Hidden, none, &prompts);
    let alone = greedy(&slm, &ToyModel::vocabulary(), &prompts, MAX_TOKENS).expect("no errors");
    let ids: Vec<Vec<TokenId>> = traces.iter().map(|t| t.ids().collect()).collect();
    assert_eq!(ids, alone);
    assert!(traces.iter().all(|t| t.llm_calls == 0 && t.held as usize == t.tokens.len()));
    for share in [-0.1, 1.1, f64::NAN] {
        assert!(Budget::new(share).is_err());
    }
}

/// The LLM's answer after a context.
fn greedy_llm(llm: &InProcess<ToyModel>, context: &[TokenId]) -> TokenId {
    let ask = Ask::greedy(context, context.len());
    let said = llm.ask(&[ask]).remove(0).expect("a toy's answer");
    ToyModel::vocabulary().canonical(said.tokens[0])
}

#[test]
fn a_relay_is_the_llms_own_run() {
    let slm = ToyModel::new(3);
    let prompts = prompts(12);
    let truth = InProcess::new(ToyModel::following(77, &slm, 0.5));
    let relay = |n| Wait::Relay { tokens: at_least_one(n) };
    let of = |wait| run(&slm, &llm(&slm), &Hidden, policy(0.3, wait), &prompts);
    assert_eq!(of(relay(1)), of(Wait::Block), "one token per call is no relay");
    for n in [2, 4, 100] {
        let traces = of(relay(n));
        for (prompt, trace) in prompts.iter().zip(&traces) {
            let mut context = prompt.clone();
            let mut run = 0;
            let mut relayed = 0;
            for token in &trace.tokens {
                let follows = run > 0 && run < n;
                assert_eq!(token.origin == Origin::Llm, follows || token.score < 0.3);
                if token.origin == Origin::Llm {
                    assert_eq!(token.token, greedy_llm(&truth, &context));
                    relayed += u64::from(follows);
                    run = if follows { run + 1 } else { 1 };
                } else {
                    run = 0;
                }
                context.push(token.token);
            }
            assert_eq!(trace.relayed, relayed);
            assert_eq!(trace.llm_calls + trace.relayed, trace.offloaded() as u64);
        }
        let made = |t: &Trace| t.relayed;
        assert!(traces.iter().map(made).sum::<u64>() > 20);
    }
}

#[test]
fn a_relay_that_breaks_off_is_what_was_said_so_far() {
    let vocabulary = ToyModel::vocabulary();
    let llm = |failing: &[u64]| {
        let script = |context: &[TokenId]| Ok([3, 4, 5, 14, 6][context.len() - 1]);
        Scripted::new(script).failing(failing.iter().copied())
    };
    for (failing, tokens, said) in [
        (&[][..], 2, Some(vec![3, 4])),
        (&[], 9, Some(vec![3, 4, 5, 14])),
        (&[2], 9, Some(vec![3, 4])),
        (&[0], 9, None),
    ] {
        let relayed = llm(failing).relay(&[1], tokens, None, &vocabulary);
        assert_eq!(relayed.ok().map(|reply| reply.tokens), said);
    }
}

#[test]
fn a_relay_stays_within_the_budget() {
    let slm = ToyModel::new(3);
    let wait = Wait::Relay { tokens: at_least_one(5) };
    let policy = Policy { budget: budget(0.4), ..policy(0.8, wait) };
    let traces = run(&slm, &llm(&slm), &Hidden, policy, &prompts(12));
    assert!(traces.iter().any(|t| t.relayed > 0));
    for trace in traces {
        let mut offloaded = 0;
        for (n, token) in (1..).zip(&trace.tokens) {
            offloaded += usize::from(token.origin == Origin::Llm);
            assert!(n < 3 || offloaded as f64 <= 0.4 * f64::from(n) + 1e-9);
        }
    }
}

#[test]
fn a_late_reply_degrades_its_token_and_is_dropped() {
    let slm = ToyModel::new(5);
    let prompts = [vec![1, 2, 3]];
    let vocabulary = ToyModel::vocabulary();
    let alone = greedy(&slm, &vocabulary, &prompts, MAX_TOKENS).expect("no errors");
    for wait in [Wait::Block, speculate(2, 3)] {
        let gated = Gated::new(ToyModel::new(6), 1);
        let pair = Pair::new(&slm, &gated, &vocabulary);
        let deadline = Some(Duration::from_millis(4));
        let policy = Policy { deadline, wait, ..Policy::new(Tau::LLM_ONLY) };
        let mut made = 0;
        let decoding = RoutedDecoding::new(pair, &Hidden, policy);
        let decoding = RoutedDecoding { calls: Some(APART), batch: 1, ..decoding };
        let traces = decoding.run_with(&requests(&prompts), &mut |_, _| {
            made += 1;
            // No reply comes before the answer is complete.
            if made == alone[0].len() {
                gated.open();
            }
        });
        let trace = traces.expect("degrades").remove(0);
        assert_eq!(trace.ids().collect::<Vec<_>>(), alone[0]);
        assert!(trace.tokens.iter().all(|t| t.cause == Some(Cause::Late)));
        assert_eq!(trace.wasted_calls, trace.llm_calls, "no answer was used");
        assert_eq!(trace.wasted_positions, trace.llm_positions);
        // A busy machine may drop a call before it is sent.
        assert_eq!(trace.llm_positions > 0, trace.llm_calls > 0, "what is late still counts");
    }
}

#[test]
fn warming_up_keeps_to_the_cap_and_never_asks_for_the_slm_alone() {
    let slm = ToyModel::new(6);
    let prompts = prompts(8);
    let calls = |policy: Policy| {
        let policy = Policy { warm: Some(at_least_one(2)), ..policy };
        run(&slm, &llm(&slm), &Hidden, policy, &prompts)
    };
    let alone =
        [policy(0.0, Wait::Block), Policy { budget: budget(0.0), ..policy(0.5, Wait::Block) }];
    for policy in alone {
        assert!(calls(policy).iter().all(|t| t.llm_calls == 0));
    }
    for most in [0, 1, 3] {
        let capped = Policy { max_extra: Some(most), ..policy(0.2, Wait::Block) };
        assert!(calls(capped).iter().all(|t| t.wasted_calls <= most));
    }
}

#[test]
fn warming_up_costs_calls_and_changes_no_token() {
    let slm = ToyModel::new(7);
    let prompts = prompts(6);
    let cold = run(&slm, &llm(&slm), &Hidden, policy(0.2, Wait::Block), &prompts);
    let warm = Policy { warm: Some(at_least_one(4)), ..policy(0.2, Wait::Block) };
    let warm = run(&slm, &llm(&slm), &Hidden, warm, &prompts);
    for (cold, warm) in cold.iter().zip(&warm) {
        assert_eq!(cold.tokens, warm.tokens);
        assert!(warm.wasted_calls > 0);
        assert_eq!(warm.llm_calls - warm.wasted_calls, cold.llm_calls);
    }
}
