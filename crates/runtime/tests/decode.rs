//! Routed decoding over toy pairs: its ends, its independence of batching, and
//! what it does when the LLM fails.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokenroute_core::{
    Ask, Cause, Detail, LanguageModel, Llm, LlmError, Origin, Position, Reply, Sampling, Score,
    ScoreError, Scorer, Tau, TokenId, Trace, Vocabulary, unit_hash,
};
use tokenroute_llm::{AsModel, InProcess, Scripted, ToyModel};
use tokenroute_runtime::{
    DEFAULT_BATCH, Pair, Request, RuntimeError, Start, decode, extend, forced, greedy, stream,
};

const MAX_TOKENS: usize = 24;

/// A router of sorts: reads the hidden state.
struct Hidden;

impl Scorer for Hidden {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.hidden[0])
    }
}

/// Knows the LLM's token and scores by it.
struct Oracle;

impl Scorer for Oracle {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let differs = position.llm_token.is_some_and(|t| t != position.step.token);
        let order = 0.5 * unit_hash(1, position.question, position.index);
        Score::new(if differs { order } else { 0.5 + order })
    }

    fn needs_llm(&self) -> bool {
        true
    }
}

fn prompts(count: u32) -> Vec<Vec<TokenId>> {
    (0..count)
        .map(|i| (0..=i % 5).map(|j| (i + 3 * j) % 14).chain([i % 13, i / 13]).collect())
        .collect()
}

fn requests(prompts: &[Vec<TokenId>]) -> Vec<Request<'_>> {
    prompts.iter().map(|p| Request { question: "q", prompt: p, max_tokens: MAX_TOKENS }).collect()
}

fn tau(value: f32) -> Tau {
    Tau::new(value).expect("in range")
}

fn ids(traces: &[Trace]) -> Vec<Vec<TokenId>> {
    traces.iter().map(|t| t.ids().collect()).collect()
}

#[test]
fn the_ends_of_tau_are_the_models_alone() {
    let vocabulary = ToyModel::vocabulary();
    let prompts = prompts(20);
    for seed in 0..10 {
        let slm = ToyModel::new(seed);
        let llm = InProcess::new(ToyModel::following(seed + 100, &slm, 0.7));
        let pair = Pair::new(&slm, &llm, &vocabulary);
        for scorer in [&Hidden as &dyn Scorer, &Oracle] {
            for (tau, model) in [(Tau::SLM_ONLY, &slm), (Tau::LLM_ONLY, llm.model())] {
                let traces = decode(pair, scorer, tau, &requests(&prompts), 8).expect("no errors");
                let alone = greedy(model, &vocabulary, &prompts, MAX_TOKENS).expect("no errors");
                assert_eq!(ids(&traces), alone, "seed {seed}, τ {tau}");
                for trace in &traces {
                    let llm_made = if tau == Tau::SLM_ONLY { 0 } else { trace.tokens.len() };
                    assert_eq!(trace.offloaded(), llm_made);
                    let last = trace.ids().last().expect("a token");
                    assert_eq!(trace.ended, last == 14, "the canonical end token");
                    assert!(trace.ended || trace.tokens.len() == MAX_TOKENS);
                    assert!(trace.ids().all(|t| t != 15), "the other end token is replaced");
                }
            }
        }
    }
}

#[test]
fn traces_do_not_depend_on_the_batch() {
    let vocabulary = ToyModel::vocabulary();
    let prompts = prompts(17);
    for seed in 0..10 {
        let slm = ToyModel::new(seed);
        let run = |scorer: &dyn Scorer, tau, batch| {
            let llm = InProcess::new(ToyModel::following(seed + 100, &slm, 0.7));
            let pair = Pair::new(&slm, &llm, &vocabulary);
            decode(pair, scorer, tau, &requests(&prompts), batch).expect("no errors")
        };
        for scorer in [&Hidden as &dyn Scorer, &Oracle] {
            for tau in [tau(0.2), tau(0.6)] {
                let one_by_one = run(scorer, tau, 1);
                for batch in [2, 7, 16, DEFAULT_BATCH] {
                    assert_eq!(run(scorer, tau, batch), one_by_one, "seed {seed}, batch {batch}");
                }
                assert_eq!(run(scorer, tau, 0), one_by_one, "a batch of nothing is one");
            }
        }
    }
}

#[test]
fn every_token_follows_the_rule() {
    let vocabulary = ToyModel::vocabulary();
    let prompts = prompts(30);
    let slm = ToyModel::new(4);
    let llm = InProcess::new(ToyModel::following(5, &slm, 0.5));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let half = tau(0.5);
    let traces = decode(pair, &Hidden, half, &requests(&prompts), 8).expect("no errors");
    for (prompt, trace) in prompts.iter().zip(&traces) {
        let answer: Vec<TokenId> = trace.ids().collect();
        let said = |model: &ToyModel| {
            let steps = forced(model, &vocabulary, &[(prompt, &answer)], Detail::Full);
            steps.expect("no errors").remove(0).steps
        };
        let (small, large) = (said(&slm), said(llm.model()));
        assert_eq!(small.len(), answer.len());
        for ((token, small), large) in trace.tokens.iter().zip(&small).zip(&large) {
            assert_eq!(token.slm_token, small.token);
            assert_eq!(token.score, Score::new(small.hidden[0]).expect("a number").get());
            let offloaded = token.score < 0.5;
            assert_eq!(token.origin, if offloaded { Origin::Llm } else { Origin::Slm });
            assert_eq!(token.token, if offloaded { large.token } else { small.token });
        }
        let fed = prompt.len() + answer.len() - 1;
        assert_eq!(trace.slm_positions, fed as u64);
        assert!(trace.llm_positions <= fed as u64);
    }
}

#[test]
fn a_failing_llm_degrades_and_never_truncates() {
    let vocabulary = ToyModel::vocabulary();
    let prompts = prompts(12);
    let slm = ToyModel::new(8);
    let alone = greedy(&slm, &vocabulary, &prompts, MAX_TOKENS).expect("no errors");

    let down = Scripted::new(|_| Err(LlmError::Unavailable("down".into())));
    let pair = Pair::new(&slm, &down, &vocabulary);
    for scorer in [&Hidden as &dyn Scorer, &Oracle] {
        let traces = decode(pair, scorer, Tau::LLM_ONLY, &requests(&prompts), 4).expect("degrades");
        assert_eq!(ids(&traces), alone);
        assert!(traces.iter().all(|t| t.degraded() == t.tokens.len()));
        let causes = traces.iter().flat_map(|t| &t.tokens).map(|t| t.cause);
        assert!(causes.into_iter().all(|cause| cause == Some(Cause::Unavailable)));
        assert!(traces.iter().all(|t| t.offloaded() == 0));
    }

    // Failing once, at the third ask: that token is the SLM's, the rest the LLM's.
    let flaky = Scripted::new(|_| Ok(3)).failing([2]);
    let pair = Pair::new(&slm, &flaky, &vocabulary);
    let request = Request { question: "q", prompt: &[1, 2], max_tokens: 6 };
    let trace = &decode(pair, &Hidden, Tau::LLM_ONLY, &[request], 1).expect("degrades")[0];
    assert_eq!(trace.tokens.len(), 6);
    for (i, token) in trace.tokens.iter().enumerate() {
        let (origin, made) =
            if i == 2 { (Origin::Degraded, token.slm_token) } else { (Origin::Llm, 3) };
        assert_eq!((token.origin, token.token), (origin, made), "token {i}");
        assert_eq!(token.cause, (i == 2).then_some(Cause::Unavailable), "token {i}");
    }
}

#[test]
fn a_stream_hands_out_what_the_trace_records() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(9);
    let llm = InProcess::new(ToyModel::following(10, &slm, 0.6));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let mut heard = Vec::new();
    let request = Request { question: "q", prompt: &[1, 2], max_tokens: MAX_TOKENS };
    let trace = stream(pair, &Hidden, tau(0.5), request, &mut |t| heard.push(t.clone()));
    let trace = trace.expect("no errors");
    assert!(!heard.is_empty());
    assert_eq!(heard, trace.tokens);
    let whole = decode(pair, &Hidden, tau(0.5), &[request], 4).expect("no errors");
    assert_eq!(whole, [trace]);
}

#[test]
fn answers_continue_from_kept_states() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(11);
    let prompts = prompts(10);
    let whole = greedy(&slm, &vocabulary, &prompts, MAX_TOKENS).expect("no errors");
    let pairs: Vec<(&[TokenId], &[TokenId])> =
        prompts.iter().zip(&whole).map(|(p, a)| (p.as_slice(), &a[..1])).collect();
    let forced = forced(&slm, &vocabulary, &pairs, Detail::Token).expect("no errors");
    let open = |a: &[TokenId]| !a.last().is_some_and(|&t| vocabulary.is_end(t));
    let starts = forced.into_iter().zip(&pairs).filter(|(_, p)| open(p.1)).map(|(f, p)| Start {
        state: f.state,
        tokens: p.1.to_vec(),
        max_tokens: MAX_TOKENS - 1,
    });
    let rest = extend(&slm, &vocabulary, starts).expect("no errors");
    let expected: Vec<_> =
        whole.iter().filter(|a| open(&a[..1])).map(|a| a[1..].to_vec()).collect();
    assert_eq!(rest, expected);
}

#[test]
fn bad_requests_and_scores_are_named() {
    struct Broken;
    impl Scorer for Broken {
        fn score(&self, _: &Position<'_>) -> Result<Score, ScoreError> {
            Score::new(f32::NAN)
        }
    }
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(1);
    let llm = InProcess::new(ToyModel::new(2));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let run = |scorer: &dyn Scorer, prompt: &[TokenId], max_tokens| {
        let request = Request { question: "q7", prompt, max_tokens };
        decode(pair, scorer, tau(0.5), &[request], 1)
    };
    let text = |r: Result<Vec<Trace>, RuntimeError>| r.expect_err("an error").to_string();
    assert!(text(run(&Broken, &[1], 3)).starts_with("question \"q7\", token 0: "));
    assert!(text(run(&Hidden, &[], 3)).contains("\"q7\" has an empty prompt"));
    assert!(text(run(&Hidden, &[77], 3)).contains("token id 77"));
    assert_eq!(run(&Hidden, &[1], 0).expect("nothing to do"), [Trace::default()]);
}

/// Counts relays, of which none may be longer than so many tokens.
struct Short(InProcess<ToyModel>, usize, AtomicU32);

impl Llm for Short {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        self.0.ask(asks)
    }

    fn relay(
        &self,
        context: &[TokenId],
        tokens: usize,
        sampling: Option<Sampling>,
        v: &Vocabulary,
    ) -> Result<Reply, LlmError> {
        self.2.fetch_add(1, Ordering::Relaxed);
        match tokens > self.1 {
            true => Err(LlmError::Late("too long".to_owned())),
            false => self.0.relay(context, tokens, sampling, v),
        }
    }

    fn forget(&self, _: &[TokenId]) {}
}

#[test]
fn a_continuation_is_one_call_or_a_few_shorter_ones() {
    let (model, vocabulary) = (ToyModel::new(7), ToyModel::vocabulary());
    let prompts: Vec<[TokenId; 2]> = (0..12).map(|i| [i, (i * 5) % 13]).collect();
    let expected = greedy(&model, &vocabulary, &prompts, 10).expect("answers");
    assert!(expected.iter().any(|answer| answer.len() == 10), "some are cut by length");
    for (longest, most) in [(usize::MAX, 1), (8, 3)] {
        let llm = Short(InProcess::new(ToyModel::new(7)), longest, AtomicU32::new(0));
        let there = AsModel::new(llm, model.info().clone(), Duration::from_secs(60), 4);
        let answers = greedy(&there, &vocabulary, &prompts, 10).expect("answers");
        assert_eq!(answers, expected);
        let calls = there.llm().2.load(Ordering::Relaxed);
        assert!((12..=12 * most).contains(&calls), "{calls}");
        let read: usize = answers.iter().map(|answer| 1 + answer.len()).sum();
        assert_eq!(there.processed(), read as u64, "all but the last token of each");
    }
}
