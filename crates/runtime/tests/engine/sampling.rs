//! Decoding at a temperature: every token is the draw of its position, in every mode of waiting
//! and for every place of the LLM.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokenroute_core::{
    Ask, Detail, Feed, LanguageModel, Llm, Origin, Position, Sampling, Scorer, Side, Step, TokenId,
    Trace,
};
use tokenroute_llm::http::{Http, HttpConfig};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_runtime::{
    Engine, Event, Pair, Policy, Request, RoutedDecoding, Session, Wait, decode,
};
use tokenroute_server::completions::{BatchConfig, CompletionService, Texts};

use crate::lab::{
    Distant, Hidden, MAX_TOKENS, at_least_one, decided, lookahead, policy, prompts, requests, run,
    speculate, tau,
};

fn sampling(temperature: f64, top_p: f64, seed: u64) -> Option<Sampling> {
    Sampling::new(temperature, top_p, seed).expect("in range")
}

fn drawn(sampling: Option<Sampling>, policy: Policy) -> Policy {
    Policy { sampling, ..policy }
}

/// The pairs under test.
fn pair(seed: u64) -> (ToyModel, ToyModel) {
    let slm = ToyModel::new(seed);
    let llm = ToyModel::following(seed + 100, &slm, 0.6);
    (slm, llm)
}

/// A model's token after a prefix, without a cache.
fn step(model: &ToyModel, prefix: &[TokenId]) -> Step {
    let mut state = model.start();
    let mut feeds = [Feed { state: &mut state, tokens: prefix, from: prefix.len() - 1 }];
    model.advance(&mut feeds, Detail::Logits).expect("a good feed").remove(0).remove(0)
}

/// An answer by the definition, token by token: its origin, the token, and the SLM's token.
fn by_hand(
    (slm, llm): (&ToyModel, &ToyModel),
    prompt: &[TokenId],
    t: f64,
    sampling: Option<Sampling>,
) -> Vec<(Origin, TokenId, TokenId)> {
    let vocabulary = ToyModel::vocabulary();
    let mut path = prompt.to_vec();
    let mut answer = Vec::new();
    while answer.len() < MAX_TOKENS && !path[prompt.len()..].iter().any(|&t| vocabulary.is_end(t)) {
        let (small, large) = (step(slm, &path), step(llm, &path));
        let position = Position {
            question: "q",
            index: answer.len(),
            previous: path[path.len() - 1],
            step: &small,
            sentence_entropy: 0.0,
            paragraph_entropy: 0.0,
            lowest: 1.0,
            state: None,
            llm: None,
        };
        let score = Hidden.score(&position).expect("a number");
        let own = vocabulary.canonical(small.said(sampling, Side::Slm, path.len()));
        let (origin, token) = match tau(t).offloads(score) {
            true => (Origin::Llm, large.said(sampling, Side::Llm, path.len())),
            false => (Origin::Slm, own),
        };
        path.push(vocabulary.canonical(token));
        answer.push((origin, path[path.len() - 1], own));
    }
    answer
}

fn made(trace: &Trace) -> Vec<(Origin, TokenId, TokenId)> {
    trace.tokens.iter().map(|t| (t.origin, t.token, t.slm_token)).collect()
}

fn ids(traces: &[Trace]) -> Vec<Vec<TokenId>> {
    traces.iter().map(|t| t.ids().collect()).collect()
}

#[test]
fn tokens_are_those_of_the_definition_however_they_are_decoded() {
    let prompts = prompts(7);
    let vocabulary = ToyModel::vocabulary();
    let mut kept = 0;
    for (seed, t, sampling) in [
        (1, 0.5, sampling(1.0, 1.0, 0)),
        (2, 0.3, sampling(0.6, 0.9, 17)),
        (3, 1.0, sampling(2.0, 0.5, u64::MAX)),
        (4, 0.0, sampling(1.3, 1.0, 5)),
        (5, 0.7, sampling(0.2, 0.8, 6)),
    ] {
        let (slm, llm) = pair(seed);
        let expected: Vec<_> =
            prompts.iter().map(|prompt| by_hand((&slm, &llm), prompt, t, sampling)).collect();
        let made_of = |traces: &[Trace]| traces.iter().map(made).collect::<Vec<_>>();
        for batch in [1, 3, 7] {
            let llm = InProcess::new(pair(seed).1);
            let pair = Pair::new(&slm, &llm, &vocabulary);
            let policy = drawn(sampling, policy(t, Wait::Block));
            let requests = requests(&prompts);
            let decoding = RoutedDecoding { batch, ..RoutedDecoding::new(pair, &Hidden, policy) };
            let traces = decoding.run(&requests).expect("no error stops decoding");
            assert_eq!(made_of(&traces), expected, "seed {seed}, {batch} at a time");
        }
        for (ahead, wait) in [
            (1, Wait::Block),
            (1, speculate(1, 0)),
            (1, speculate(3, 6)),
            (1, speculate(9, 40)),
            (5, Wait::Block),
            (4, speculate(2, 3)),
        ] {
            let distant = Distant::new(pair(seed).1, seed);
            let policy = drawn(sampling, lookahead(ahead, policy(t, wait)));
            let traces = run(&slm, &distant, &Hidden, policy, &prompts);
            assert_eq!(made_of(&traces), expected, "seed {seed}, {wait:?}, lookahead {ahead}");
            kept += traces.iter().map(|t| t.speculated - t.rolled_back).sum::<u64>();
        }
    }
    assert!(kept > 50, "{kept} speculated positions were kept");
}

#[test]
fn a_seed_gives_one_answer_and_another_seed_another() {
    let prompts = prompts(8);
    let (slm, _) = pair(3);
    let of = |temperature, top_p, seed| {
        let policy = drawn(sampling(temperature, top_p, seed), policy(0.5, Wait::Block));
        ids(&run(&slm, &Distant::new(pair(3).1, 1), &Hidden, policy, &prompts))
    };
    assert_eq!(of(1.0, 1.0, 4), of(1.0, 1.0, 4));
    assert_ne!(of(1.0, 1.0, 4), of(1.0, 1.0, 5));
    let greedy = of(0.0, 1.0, 4);
    assert_ne!(of(1.0, 1.0, 4), greedy);
    assert_eq!(of(1e-6, 1.0, 4), greedy, "near 0");
    assert_eq!(of(2.0, 1e-6, 4), greedy, "with next to nothing to draw from");
}

#[test]
fn a_token_that_the_llm_does_not_give_is_the_slm_s_draw() {
    let prompts = prompts(6);
    let (slm, llm) = pair(9);
    let sampling = sampling(1.0, 1.0, 2);
    let make = || Distant { failing: 0.4, ..Distant::new(pair(9).1, 3) };
    let blocking = run(&slm, &make(), &Hidden, drawn(sampling, policy(0.8, Wait::Block)), &prompts);
    let ahead =
        run(&slm, &make(), &Hidden, drawn(sampling, policy(0.8, speculate(3, 6))), &prompts);
    let mut degraded = 0;
    for ((prompt, blocked), ahead) in prompts.iter().zip(&blocking).zip(&ahead) {
        assert_eq!(decided(blocked), decided(ahead));
        let mut path = prompt.clone();
        for token in &blocked.tokens {
            let vocabulary = ToyModel::vocabulary();
            let side = |model, side| {
                vocabulary.canonical(step(model, &path).said(sampling, side, path.len()))
            };
            assert_eq!(token.slm_token, side(&slm, Side::Slm));
            if token.origin == Origin::Llm {
                assert_eq!(token.token, side(&llm, Side::Llm));
            }
            path.push(token.token);
            degraded += usize::from(token.origin == Origin::Degraded);
        }
    }
    assert!(degraded > 10, "{degraded} degraded tokens");
}

#[test]
fn sessions_with_other_draws_leave_each_other_alone() {
    let (slm, large) = pair(4);
    let llm = InProcess::new(pair(4).1);
    let vocabulary = ToyModel::vocabulary();
    // The same prompt each time: cached states must not answer other sessions.
    let prompt = vec![3, 1, 4];
    let draws: Vec<_> = (0..6)
        .map(|i| {
            if i % 3 == 0 {
                None
            } else {
                sampling(0.5 + 0.3 * f64::from(i), 1.0, u64::from(i as u32))
            }
        })
        .chain([sampling(0.8, 1.0, 1), sampling(0.8, 0.6, 1)])
        .collect();
    let mut engine = Engine::inline(Pair::new(&slm, &llm, &vocabulary), &Hidden);
    let ids: Vec<_> = draws
        .iter()
        .map(|&sampling| {
            let policy = drawn(sampling, policy(0.6, Wait::Block));
            let prompt = prompt.clone();
            let session =
                Session { question: "q".to_owned(), prompt, max_tokens: MAX_TOKENS, policy };
            engine.add(session).expect("a good session")
        })
        .collect();
    let mut traces = vec![None; ids.len()];
    while engine.sessions() > 0 {
        for event in engine.turn(Duration::from_secs(600)) {
            if let Event::Ended { session, trace } = event {
                let at = ids.iter().position(|&id| id == session).expect("one of them");
                traces[at] = Some(made(&trace));
            }
        }
    }
    for (trace, sampling) in traces.into_iter().zip(draws) {
        assert_eq!(trace, Some(by_hand((&slm, &large), &prompt, 0.6, sampling)), "{sampling:?}");
    }
}

/// The toys' tokens have no text.
struct NoTexts;

impl Texts for NoTexts {
    fn encode(&self, text: &str) -> Result<Vec<TokenId>, String> {
        Err(format!("{text:?} has no tokens"))
    }

    fn decode(&self, _: &[TokenId]) -> Result<String, String> {
        Ok(String::new())
    }

    fn longest_token(&self) -> usize {
        usize::MAX
    }

    fn token(&self, id: TokenId) -> Result<String, String> {
        Ok(format!("<{id}>"))
    }
}

#[test]
fn a_pair_split_over_http_draws_what_it_draws_in_process() {
    let prompts = prompts(5);
    let (slm, llm) = pair(6);
    let texts = Box::new(NoTexts);
    let config = BatchConfig::default();
    let service =
        CompletionService::new("toy".into(), llm, ToyModel::vocabulary(), texts, None, config);
    let server = service.start((Ipv4Addr::LOCALHOST, 0).into()).expect("a server");
    let config = HttpConfig::new(&format!("http://{}", server.address()));
    let http = Http::new(config, ToyModel::vocabulary(), None).expect("a good URL");
    for sampling in [sampling(1.0, 1.0, 8), sampling(0.7, 0.8, u64::MAX - 3), None] {
        let local = Distant::new(pair(6).1, 1);
        let expected =
            run(&slm, &local, &Hidden, drawn(sampling, policy(0.6, Wait::Block)), &prompts);
        for (ahead, wait) in [(1, Wait::Block), (6, Wait::Block), (3, speculate(2, 4))] {
            let policy = drawn(sampling, lookahead(ahead, policy(0.6, wait)));
            let traces = run(&slm, &http, &Hidden, policy, &prompts);
            assert_eq!(ids(&traces), ids(&expected), "{sampling:?}, {wait:?}, lookahead {ahead}");
        }
        let relay = drawn(sampling, policy(0.6, Wait::Relay { tokens: at_least_one(4) }));
        let by = |llm: &dyn Llm| ids(&run(&slm, llm, &Hidden, relay, &prompts));
        assert_eq!(by(&http), by(&local), "a relay of four is four calls of one");
    }
    let context = [3, 1, 4, 1, 5];
    let drawn = sampling(1.5, 1.0, 9);
    let run = http.relay(&context, 10, drawn, &ToyModel::vocabulary()).expect("a run").tokens;
    let mut path = context.to_vec();
    for &token in &run {
        let said = http.ask(&[Ask::next(&path, drawn)]).remove(0).expect("a token").tokens;
        assert_eq!(said, [token]);
        path.push(token);
    }
    assert!(run.len() > 1);
    server.stop().expect("an orderly end");
}

#[test]
fn what_the_router_sees_is_the_greedy_step() {
    let prompts = prompts(6);
    let (slm, _) = pair(2);
    let llm = InProcess::new(pair(2).1);
    let vocabulary = ToyModel::vocabulary();
    let pair = Pair::new(&slm, &llm, &vocabulary);
    let first = |traces: &[Trace]| {
        traces.iter().map(|t| (t.tokens[0].score, t.tokens[0].origin)).collect::<Vec<_>>()
    };
    let greedy = decode(pair, &Hidden, tau(0.5), &requests(&prompts), 4).expect("no errors");
    let policy = drawn(sampling(2.0, 1.0, 3), policy(0.5, Wait::Block));
    let request: Vec<Request<'_>> = requests(&prompts);
    let drawn = RoutedDecoding::new(pair, &Hidden, policy).run(&request).expect("no errors");
    assert_eq!(first(&drawn), first(&greedy));
    assert_ne!(ids(&drawn), ids(&greedy));
}
