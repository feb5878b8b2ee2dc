//! Whole answers of the LLM: the SLM's tokens are discarded when its answer is handed over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokenroute_core::{
    Ask, Continuation, Detail, Handoff, Llm, LlmError, ModelError, Origin, Position, Reply, Score,
    ScoreError, Scorer, Tau, TokenId, Vocabulary,
};
use tokenroute_llm::{InProcess, Scripted, ToyModel};
use tokenroute_runtime::{
    Budget, Engine, Event, Pair, Policy, RoutedDecoding, Session, Wait, greedy, teacher_forcing,
};

use crate::lab::{
    Distant, Hidden, MAX_TOKENS, Oracle, Remembers, check, policy, prompts, requests, run,
};

fn handoff() -> Handoff {
    Handoff::by(Box::new(Hidden))
}

#[test]
fn the_slm_keeps_its_answer_or_the_llm_makes_all_of_it() {
    let slm = ToyModel::new(5);
    let model = ToyModel::following(77, &slm, 0.5);
    let prompts = prompts(30);
    let vocabulary = ToyModel::vocabulary();
    let own = greedy(&slm, &vocabulary, &prompts, MAX_TOKENS).expect("no errors");
    let other = greedy(&model, &vocabulary, &prompts, MAX_TOKENS).expect("no errors");
    let llm = Distant::new(model, 3);
    let alone = run(&slm, &llm, &handoff(), policy(0.0, Wait::Whole), &prompts);
    let (mut kept, mut handed, mut late) = (0, 0, 0);
    for t in [0.01, 0.05, 0.1, 0.3, 1.0] {
        let traces = run(&slm, &llm, &handoff(), policy(t, Wait::Whole), &prompts);
        for (i, trace) in traces.iter().enumerate() {
            let below = alone[i].tokens.iter().position(|token| token.score < t);
            let ids: Vec<TokenId> = trace.ids().collect();
            let Some(index) = below else {
                assert_eq!(ids, own[i]);
                assert_eq!((trace.llm_calls, trace.discarded), (0, 0));
                kept += 1;
                continue;
            };
            assert_eq!(ids, other[i]);
            assert!(trace.tokens.iter().all(|token| token.origin == Origin::Llm));
            assert!(trace.tokens.iter().all(|token| token.score < t), "scores stay below τ");
            assert_eq!((trace.llm_calls, trace.discarded), (1, index as u64));
            assert_eq!(trace.relayed as usize, ids.len() - 1);
            handed += 1;
            late += usize::from(index > 0);
        }
    }
    assert!(kept > 10 && handed > 10 && late > 5, "{kept} kept, {handed} handed, {late} late");
}

#[test]
fn a_scorer_remembers_the_steps_of_the_whole_answer() {
    let (slm, vocabulary, prompts) = (ToyModel::new(5), ToyModel::vocabulary(), prompts(30));
    let llm = Distant::new(ToyModel::following(77, &slm, 0.5), 3);
    let scorer = Handoff::by(Box::new(Remembers));
    let traces = run(&slm, &llm, &scorer, policy(0.1, Wait::Whole), &prompts);
    let handed = prompts.iter().zip(&traces).filter(|(_, trace)| trace.discarded > 0);
    for (prompt, trace) in handed.clone() {
        let answer: Vec<TokenId> = trace.ids().collect();
        let along = teacher_forcing(&slm, &vocabulary, &[(prompt, &answer)], Detail::Full);
        // The first score is that of the token at which the answer was handed over.
        let (mut remembered, mut lowest) = (0.0, trace.tokens[0].score);
        for (i, (token, step)) in
            trace.tokens.iter().zip(&along.expect("no errors")[0].steps).enumerate()
        {
            remembered = Remembers::after(remembered, step);
            let score = Score::new(remembered).expect("a number").get();
            lowest = if i > 0 { lowest.min(score) } else { lowest };
            assert_eq!(token.score, lowest, "token {i}");
        }
    }
    assert!(handed.count() > 3);
}

#[test]
fn no_token_is_handed_out_before_the_answer_is_complete() {
    let (slm, vocabulary) = (ToyModel::new(5), ToyModel::vocabulary());
    let llm = InProcess::new(ToyModel::following(77, &slm, 0.5));
    let scorer = handoff();
    let mut engine = Engine::inline(Pair::new(&slm, &llm, &vocabulary), &scorer);
    for prompt in prompts(8) {
        let (question, max_tokens) = (String::new(), MAX_TOKENS);
        let policy = policy(0.05, Wait::Whole);
        let id = engine.add(Session { question, prompt, max_tokens, policy }).expect("a session");
        let mut tokens = 0;
        while engine.sessions() > 0 {
            for event in engine.turn(Duration::from_secs(5)) {
                tokens += usize::from(matches!(event, Event::Token { .. }));
                if let Event::Ended { session, trace } = event {
                    assert_eq!((session, trace.tokens.len()), (id, tokens));
                }
            }
            assert!(tokens == 0 || engine.sessions() == 0, "a token before the end");
        }
    }
}

#[test]
fn the_slm_goes_on_where_the_llm_fails() {
    let slm = ToyModel::new(5);
    let prompts = prompts(12);
    let llm = Distant { failing: 1.0, ..Distant::new(ToyModel::new(9), 3) };
    let own = greedy(&slm, &ToyModel::vocabulary(), &prompts, MAX_TOKENS).expect("no errors");
    let mut degraded = 0;
    for (trace, own) in
        run(&slm, &llm, &handoff(), policy(0.1, Wait::Whole), &prompts).iter().zip(own)
    {
        assert!(trace.ids().eq(own));
        let after = trace.tokens.iter().skip_while(|token| token.score >= 0.1);
        assert!(after.clone().all(|token| token.origin == Origin::Degraded));
        assert_eq!(trace.discarded, 0);
        degraded += after.count();
    }
    assert!(degraded > 0);
}

/// An LLM whose answers are cut after two tokens.
struct Cut(InProcess<ToyModel>);

impl Llm for Cut {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        self.0.ask(asks)
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        let cut: Vec<_> = wanted.iter().map(|w| Continuation { tokens: 2, ..*w }).collect();
        self.0.continuations(&cut, vocabulary)
    }

    fn forget(&self, prompt: &[TokenId]) {
        self.0.forget(prompt);
    }
}

/// Scores 1 until the position at hand, then 0.
struct From(usize);

impl Scorer for From {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(if position.index < self.0 { 1.0 } else { 0.0 })
    }
}

#[test]
fn an_answer_that_the_llm_cut_is_cut_there() {
    let (slm, vocabulary, prompts) = (ToyModel::new(5), ToyModel::vocabulary(), prompts(12));
    let llm = Cut(InProcess::new(ToyModel::following(77, &slm, 0.5)));
    let mut cut = 0;
    for at in [0, 1, 3] {
        let scorer = Handoff::by(Box::new(From(at)));
        let policy = Policy { wait: Wait::Whole, ..Policy::new(Tau::LLM_ONLY) };
        let pair = Pair::new(&slm, &llm, &vocabulary);
        let requests = requests(&prompts);
        let decoding = RoutedDecoding::new(pair, &scorer, policy);
        for trace in decoding.run(&requests).expect("traces") {
            if trace.llm_calls == 1 && !trace.ended {
                assert_eq!(trace.tokens.len(), 2);
                cut += 1;
            }
            assert!(trace.llm_calls <= 1, "asked once");
        }
    }
    assert!(cut > 5, "{cut} were cut");
    // One token at most is one ask.
    let mut one = requests(&prompts);
    one.iter_mut().for_each(|request| request.max_tokens = 1);
    let always = Handoff::by(Box::new(From(0)));
    let policy = Policy { wait: Wait::Whole, ..Policy::new(Tau::LLM_ONLY) };
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let traces = RoutedDecoding::new(pair, &always, policy).run(&one).expect("traces");
    assert!(traces.iter().all(|trace| trace.offloaded() == 1 && trace.tokens.len() == 1));
    // Nothing is warmed up.
    let warm = Policy { warm: std::num::NonZeroUsize::new(1), ..policy };
    let never =
        Scripted::new(|_: &[TokenId]| -> Result<TokenId, LlmError> { unreachable!("asked") });
    let pair = Pair::new(&slm, &never, &vocabulary);
    let kept = Handoff::by(Box::new(From(usize::MAX)));
    let warm = Policy { tau: Tau::new(0.5).expect("in range"), ..warm };
    for (prompt, trace) in prompts
        .iter()
        .zip(RoutedDecoding::new(pair, &kept, warm).run(&requests(&prompts)).expect("traces"))
    {
        assert_eq!(trace.llm_calls, 0);
        assert!(trace.ended || trace.tokens.len() == MAX_TOKENS);
        check(prompt, &trace);
    }
}

/// Fails every request for a whole answer, and counts them.
struct Failing {
    error: LlmError,
    calls: AtomicU64,
}

impl Llm for Failing {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        unreachable!("asked for single tokens: {asks:?}")
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        _: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        self.calls.fetch_add(wanted.len() as u64, Ordering::Relaxed);
        vec![Err(self.error.clone()); wanted.len()]
    }

    fn forget(&self, _: &[TokenId]) {}
}

#[test]
fn what_will_not_change_is_asked_once_in_an_answer() {
    let (slm, vocabulary, prompts) = (ToyModel::new(5), ToyModel::vocabulary(), prompts(12));
    let own = greedy(&slm, &vocabulary, &prompts, MAX_TOKENS).expect("no errors");
    let scorer = Handoff::by(Box::new(From(2)));
    for (error, once) in [
        (LlmError::Refused("400".to_owned()), true),
        (LlmError::BadReply("a reply without text".to_owned()), true),
        (LlmError::Model(ModelError::BadFeed { tokens: 0, from: 0 }), true),
        (LlmError::Late("4 s".to_owned()), false),
        (LlmError::Unavailable("no connection".to_owned()), false),
    ] {
        let (cause, name) = (error.cause(), error.to_string());
        let llm = Failing { error, calls: AtomicU64::new(0) };
        let policy = policy(0.5, Wait::Whole);
        let pair = Pair::new(&slm, &llm, &vocabulary);
        let traces = RoutedDecoding::new(pair, &scorer, policy).run(&requests(&prompts));
        let mut expected = 0;
        for ((prompt, trace), own) in prompts.iter().zip(traces.expect("traces")).zip(&own) {
            check(prompt, &trace);
            assert!(trace.ids().eq(own.iter().copied()), "{name}");
            for (index, token) in trace.tokens.iter().enumerate() {
                assert_eq!(token.cause, (index >= 2).then_some(cause), "token {index}");
            }
            let degraded = trace.degraded() as u64;
            let asked = if once { degraded.min(1) } else { degraded };
            assert_eq!(trace.llm_calls, asked, "{name}");
            expected += asked;
        }
        assert_eq!(llm.calls.load(Ordering::Relaxed), expected, "{name}");
        assert!(expected > 5);
    }
}

#[test]
fn whole_answers_go_with_no_budget_and_no_scorer_that_needs_the_llm() {
    let (slm, vocabulary) = (ToyModel::new(5), ToyModel::vocabulary());
    let llm = InProcess::new(ToyModel::new(9));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let whole = policy(0.5, Wait::Whole);
    let budget = Budget::new(0.2).expect("a share");
    let refused = |scorer: &dyn Scorer, policy| {
        let prompt = vec![1, 2];
        let (question, max_tokens) = (String::new(), MAX_TOKENS);
        let mut engine = Engine::inline(pair, scorer);
        let added = engine.add(Session { question, prompt, max_tokens, policy });
        added.err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(refused(&handoff(), whole), "");
    for budget in [budget, budget.over_answers()] {
        let error = refused(&handoff(), Policy { budget, ..whole });
        assert!(error.contains("budget (max_offload) of 0.2"), "{error}");
        assert_eq!(refused(&handoff(), Policy { wait: Wait::Block, budget, ..whole }), "");
    }
    let error = refused(&Oracle, whole);
    assert!(error.contains("the scorer needs the LLM's token at every position"), "{error}");
    assert_eq!(refused(&Oracle, policy(0.5, Wait::Block)), "");
}
