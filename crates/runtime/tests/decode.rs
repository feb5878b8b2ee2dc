//! Routed decoding over toy pairs: both ends of τ, independence of the batch, and a failing
//! LLM.

use tokenroute_core::{
    Cause, Detail, LlmError, Origin, Position, Score, ScoreError, Scored, Scorer, ScorerState, Tau,
    TokenId, Trace, TraceToken, unit_hash,
};
use tokenroute_llm::{InProcess, Scripted, ToyModel};
use tokenroute_runtime::{
    DEFAULT_BATCH, Pair, Policy, Request, RoutedDecoding, RuntimeError, decode, greedy,
    teacher_forcing,
};

const MAX_TOKENS: usize = 24;

/// A toy router: the score is a number of the hidden state.
struct Hidden;

impl Scorer for Hidden {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.hidden[0].into())
    }
}

/// Scores by the LLM's token.
struct Oracle;

impl Scorer for Oracle {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        let differs = position.llm.is_some_and(|llm| llm.token != position.step.token);
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

fn tau(value: f64) -> Tau {
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
            let steps = teacher_forcing(model, &vocabulary, &[(prompt, &answer)], Detail::Full);
            steps.expect("no errors").remove(0).steps
        };
        let (small, large) = (said(&slm), said(llm.model()));
        assert_eq!(small.len(), answer.len());
        for ((token, small), large) in trace.tokens.iter().zip(&small).zip(&large) {
            assert_eq!(token.slm_token, small.token);
            assert_eq!(token.score, Score::new(small.hidden[0].into()).expect("a number").get());
            let offloaded = token.score < 0.5;
            assert_eq!(token.origin, if offloaded { Origin::Llm } else { Origin::Slm });
            assert_eq!(token.token, if offloaded { large.token } else { small.token });
        }
        let fed = prompt.len() + answer.len() - 1;
        assert_eq!(trace.slm_positions, fed as u64);
        assert!(trace.llm_positions <= fed as u64);
    }
}

/// Scores by the greatest hidden number of all steps so far.
struct Greatest;

impl Scorer for Greatest {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Ok(self.scored(position)?.score)
    }

    fn scored(&self, position: &Position<'_>) -> Result<Scored, ScoreError> {
        let before = position.state.and_then(ScorerState::get::<f32>).copied().unwrap_or_default();
        let now = before.max(0.9 * position.step.hidden[0]);
        Ok(Scored { score: Score::new(now.into())?, state: Some(ScorerState::new(now)) })
    }
}

#[test]
fn a_scorer_remembers_the_steps_along_the_committed_tokens() {
    let vocabulary = ToyModel::vocabulary();
    let prompts = prompts(30);
    let slm = ToyModel::new(4);
    let llm = InProcess::new(ToyModel::following(5, &slm, 0.5));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    for at in [0.4, 0.6, 0.8] {
        let traces = decode(pair, &Greatest, tau(at), &requests(&prompts), 8).expect("no errors");
        for (prompt, trace) in prompts.iter().zip(&traces) {
            let answer: Vec<TokenId> = trace.ids().collect();
            let along = teacher_forcing(&slm, &vocabulary, &[(prompt, &answer)], Detail::Full);
            let mut greatest = 0f32;
            for (token, step) in trace.tokens.iter().zip(&along.expect("no errors")[0].steps) {
                greatest = greatest.max(0.9 * step.hidden[0]);
                let score = Score::new(greatest.into()).expect("a number").get();
                assert_eq!(token.score, score, "τ {at}");
            }
        }
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

    // The third ask fails: its token is the SLM's, the rest are the LLM's.
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
fn tokens_are_handed_out_as_the_trace_records() {
    let vocabulary = ToyModel::vocabulary();
    let slm = ToyModel::new(9);
    let llm = InProcess::new(ToyModel::following(10, &slm, 0.6));
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let mut heard = Vec::new();
    let request = Request { question: "q", prompt: &[1, 2], max_tokens: MAX_TOKENS };
    let decoding = RoutedDecoding::new(pair, &Hidden, Policy::new(tau(0.5)));
    let traces = decoding.run_with(&[request; 3], &mut |i, t| heard.push((i, t.clone())));
    let traces = traces.expect("no errors");
    assert!(!heard.is_empty());
    for (i, trace) in traces.iter().enumerate() {
        let heard: Vec<_> = heard.iter().filter(|h| h.0 == i).map(|h| h.1.clone()).collect();
        assert_eq!(heard, trace.tokens);
    }
    let whole = decode(pair, &Hidden, tau(0.5), &[request], 4).expect("no errors");
    assert_eq!(whole[0].tokens, traces[0].tokens);
}

/// One request holds a token at which one of the models fails, at every place among the others
/// and in batches of every size. Each request ends as it does alone.
#[test]
fn a_request_at_which_a_model_fails_fails_alone() {
    const BAD: TokenId = 5;
    const PLACES: usize = 7;
    let vocabulary = ToyModel::vocabulary();
    let (slm, llm) = (|| ToyModel::new(9), || ToyModel::new(10));
    let broken = [
        (slm().breaking_at(BAD), InProcess::new(llm())),
        (slm(), InProcess::new(llm().breaking_at(BAD))),
    ];
    for ((slm, llm), fails) in broken.iter().zip([true, false]) {
        let run = |prompts: &[Vec<TokenId>], batch| {
            let request = |prompt| Request { question: "q", prompt, max_tokens: MAX_TOKENS };
            let requests: Vec<Request<'_>> =
                prompts.iter().map(|p| request(p.as_slice())).collect();
            let pair = Pair::new(slm, llm, &vocabulary);
            let routed = RoutedDecoding::new(pair, &Hidden, Policy::new(tau(0.5)));
            let results = RoutedDecoding { batch, ..routed }.run_each(&requests, &mut |_, _| {});
            let results = results.expect("requests");
            let tokens = |trace: Trace| {
                let made = |t: &TraceToken| (t.token, t.origin, t.score);
                trace.tokens.iter().map(made).collect::<Vec<_>>()
            };
            results.into_iter().map(|result| result.map(tokens).ok()).collect::<Vec<_>>()
        };
        for place in 0..PLACES {
            let first = |i: usize| if i == place { BAD } else { [1, 2, 3, 4, 6, 7, 8][i] };
            let prompts: Vec<Vec<TokenId>> = (0..PLACES).map(|i| vec![first(i), 1]).collect();
            let alone: Vec<_> = prompts
                .iter()
                .map(|prompt| run(std::slice::from_ref(prompt), 1).remove(0))
                .collect();
            // A failing SLM ends its answer; without an LLM the SLM's tokens are kept.
            assert_eq!(alone[place].is_none(), fails, "{place}");
            assert!(alone.iter().flatten().count() > 2, "{place}: most fail");
            for batch in 1..=PLACES {
                assert_eq!(run(&prompts, batch), alone, "{place} in batches of {batch}");
            }
        }
    }
}

#[test]
fn bad_requests_and_scores_are_named() {
    struct Broken;
    impl Scorer for Broken {
        fn score(&self, _: &Position<'_>) -> Result<Score, ScoreError> {
            Score::new(f64::NAN)
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
