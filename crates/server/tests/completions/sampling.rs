//! Tokens drawn at a temperature: our own server draws by seed and position, as a model in
//! process does.

use serde_json::{Value, json};
use tokenroute_core::{Ask, Llm, Sampling, TokenId};
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_server::completions::BatchConfig;

use crate::support::{client, completed, serve};

const CONTEXT: [TokenId; 4] = [3, 4, 5, 6];

fn sampling(temperature: f64, top_p: f64, seed: u64) -> Option<Sampling> {
    Sampling::new(temperature, top_p, seed).expect("in range")
}

/// Four kinds of draws, and greedy.
fn kinds() -> [Option<Sampling>; 5] {
    let cold = sampling(0.3, 1.0, 1);
    [sampling(1.0, 1.0, 1), cold, sampling(1.0, 0.6, 1), sampling(1.0, 1.0, u64::MAX), None]
}

#[test]
fn the_server_draws_what_a_model_in_process_draws() {
    let server = serve(ToyModel::new(3), None, BatchConfig::default());
    let (llm, plain) = (client(&server), InProcess::new(ToyModel::new(3)));
    let contexts: Vec<Vec<TokenId>> =
        (0..12u32).map(|i| (0..3 + i % 7).map(|j| (i + j * j) % 14).collect()).collect();
    let asks: Vec<Ask<'_>> = contexts
        .iter()
        .flat_map(|context| kinds().map(|sampling| Ask { context, from: 1, sampling, top: 0 }))
        .collect();
    let tokens = |llm: &dyn Llm, asks: &[Ask<'_>]| -> Vec<Vec<TokenId>> {
        llm.ask(asks).into_iter().map(|reply| reply.expect("an answer").tokens).collect()
    };
    let said = tokens(&plain, &asks);
    assert_eq!(tokens(&llm, &asks), said);
    let greedy = asks.iter().zip(&said).filter(|(ask, _)| ask.sampling.is_none());
    assert!(greedy.count() == 12 && said.chunks(5).any(|kinds| kinds[0] != kinds[4]));
    for (ask, said) in asks.iter().zip(&said) {
        assert_eq!(said.len(), ask.context.len());
        let fresh = InProcess::new(ToyModel::new(3));
        assert_eq!(&tokens(&fresh, &[*ask])[0], said, "whatever was asked before or beside it");
    }
}

#[test]
fn the_server_lists_the_probabilities_of_a_model_in_process() {
    let server = serve(ToyModel::new(3).listing(16), None, BatchConfig::default());
    let (llm, plain) = (client(&server), InProcess::new(ToyModel::new(3).listing(16)));
    for (from, top) in [(1, 5), (4, 3), (2, 20)] {
        let ask = [Ask::greedy(&CONTEXT, from).with_top(top)];
        let (there, here) = (llm.ask(&ask).remove(0), plain.ask(&ask).remove(0));
        let (there, here) = (there.expect("an answer"), here.expect("an answer"));
        assert_eq!(there.tokens, here.tokens);
        assert_eq!((there.top.len(), here.top.len()), (5 - from, 5 - from));
        for (there, here) in there.top.iter().zip(&here.top) {
            assert_eq!(there.len(), top.min(16));
            for (a, b) in there.iter().zip(here.iter()) {
                assert!(a.0 == b.0 && (a.1 - b.1).abs() < 1e-6, "{a:?} {b:?}");
            }
        }
    }
}

#[test]
fn a_relay_is_as_many_single_draws() {
    let server = serve(ToyModel::new(3), None, BatchConfig::default());
    let (http, vocabulary) = (client(&server), ToyModel::vocabulary());
    let local = InProcess::new(ToyModel::new(3));
    for sampling in kinds() {
        let run = http.relay(&CONTEXT, 12, sampling, &vocabulary).expect("a run").tokens;
        let mut context = CONTEXT.to_vec();
        for &token in &run {
            let said = http.ask(&[Ask::next(&context, sampling)]).remove(0).expect("a token");
            assert_eq!(said.tokens, [token], "{sampling:?}");
            context.push(token);
        }
        let same = local.relay(&CONTEXT, 12, sampling, &vocabulary).expect("a run").tokens;
        assert_eq!(run, same, "{sampling:?}");
    }
}

#[test]
fn a_drawn_token_comes_with_its_own_log_probability() {
    let server = serve(ToyModel::new(5), None, BatchConfig::default());
    let body = json!({
        "prompt": [1, 2, 3], "max_tokens": 12, "temperature": 1.7, "seed": 4, "logprobs": 3,
        "return_token_ids": true,
    });
    let reply = completed(&server, &body);
    let choice = &reply["choices"][0];
    let (own, top) = (&choice["logprobs"]["token_logprobs"], &choice["logprobs"]["top_logprobs"]);
    let best = |at: usize| {
        let top = top[at].as_object().expect("candidates");
        top.values().filter_map(Value::as_f64).fold(f64::NEG_INFINITY, f64::max)
    };
    let own: Vec<f64> = own.as_array().expect("numbers").iter().filter_map(Value::as_f64).collect();
    assert!(own.iter().enumerate().all(|(at, &p)| p <= best(at)));
    assert!(own.iter().enumerate().any(|(at, &p)| p < best(at)), "not all are the best");
    let mut plain = body.clone();
    plain["logprobs"] = json!(null);
    assert_eq!(completed(&server, &plain)["choices"][0]["token_ids"], choice["token_ids"]);
    plain["seed"] = json!(5);
    assert_ne!(completed(&server, &plain)["choices"][0]["token_ids"], choice["token_ids"]);
}
