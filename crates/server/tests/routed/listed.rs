//! Several answers to one prompt, and log-probabilities beside an answer.

use std::num::NonZeroUsize;

use serde_json::{Value, json};
use tokenroute_core::{Detail, Feed, LanguageModel, Tau, TokenId};
use tokenroute_runtime::{Policy, Wait};
use tokenroute_server::routed::ServeConfig;

use crate::support::{forgetful, pair, routed};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn chat() -> Value {
    json!({"messages": [{"role": "user", "content": "abc"}], "max_tokens": 24, "tau": 0.5})
}

#[test]
fn a_listed_token_has_the_small_model_s_log_probability_even_if_the_large_one_made_it() {
    let two = const { NonZeroUsize::new(2).expect("positive") };
    for wait in [Wait::Block, Wait::Speculate { branches: two, max_ahead: 3 }] {
        let policy = Policy { wait, ..Policy::new(Tau::SLM_ONLY) };
        let client = routed(ServeConfig { policy, ..forgetful() });
        let mut body = chat();
        body["logprobs"] = json!(true);
        body["top_logprobs"] = json!(2);
        body["tokenroute"] = json!(true);
        let reply = client.answer(CHAT, &body);
        let content = reply["choices"][0]["logprobs"]["content"].as_array().expect("a list");
        let told = reply["tokenroute"].as_array().expect("tokens");
        let ids: Vec<TokenId> =
            told.iter().map(|t| t["id"].as_u64().expect("an id") as TokenId).collect();
        let made = ids.iter().filter(|&&id| id < 14).count();
        assert_eq!(content.len(), made, "an end token is not listed");
        assert!(told.iter().any(|t| t["origin"] == "llm"), "{told:?}");
        let all = [&[0, 1, 2], &ids[..]].concat();
        let slm = pair().0;
        let mut state = slm.start();
        let mut feeds = [Feed { state: &mut state, tokens: &all, from: 0 }];
        let steps = slm.advance(&mut feeds, Detail::Logits).expect("steps").remove(0);
        for (i, entry) in content.iter().enumerate() {
            let logits = steps[2 + i].logits.as_ref().expect("logits");
            let sum: f32 = logits.iter().map(|x| x.exp()).sum();
            let expected = |id: TokenId| f64::from(logits[id as usize] - sum.ln());
            let own = entry["logprob"].as_f64().expect("a number");
            assert!((own - expected(ids[i])).abs() < 1e-5, "{i}: {entry}");
            let top = entry["top_logprobs"].as_array().expect("a list");
            let best = top[0]["logprob"].as_f64().expect("a number");
            assert!((best - expected(steps[2 + i].token)).abs() < 1e-5, "{i}: {entry}");
            assert_eq!(top.len(), 2);
            let token = entry["token"].as_str().expect("a text");
            let bytes = if token == "\u{FFFD}" { Value::Null } else { json!(token.as_bytes()) };
            assert_eq!(entry["bytes"], bytes);
        }
        let plain = client.answer(CHAT, &chat());
        assert_eq!(plain["choices"][0]["message"], reply["choices"][0]["message"]);
        assert_eq!(plain["choices"][0]["logprobs"], Value::Null);
        let chunks = client.chunks(CHAT, &body);
        let streamed: Vec<Value> = chunks
            .iter()
            .filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array().cloned())
            .flatten()
            .collect();
        assert_eq!(json!(streamed), json!(content));
    }
}

#[test]
fn a_reply_that_lists_too_much_is_refused() {
    let client = routed(forgetful());
    let mut body = chat();
    for (name, value) in [
        ("logprobs", json!(true)),
        ("top_logprobs", json!(20)),
        ("n", json!(16)),
        ("temperature", json!(1)),
        ("max_tokens", json!(4000)),
    ] {
        body[name] = value;
    }
    let reply = client.post(CHAT, &body.to_string());
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("logprobs")));
    assert!(reply.text.contains("at most 131072"), "{}", reply.text);
}

#[test]
fn more_answers_than_the_server_makes_are_refused_for_good() {
    let client = routed(ServeConfig { sessions: 2, queue: 1, ..forgetful() });
    let mut body = chat();
    body["temperature"] = json!(1);
    body["n"] = json!(3);
    assert_eq!(client.post(CHAT, &body.to_string()).status, 200);
    body["n"] = json!(4);
    let reply = client.post(CHAT, &body.to_string());
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("n")));
    assert!(reply.text.contains("at most 3 answers"), "{}", reply.text);
}

#[test]
fn several_answers_are_those_of_one_request_for_each_seed() {
    let client = routed(forgetful());
    for path in [CHAT, TEXT] {
        let ask = |n: u64, seed: u64| {
            let mut body = chat();
            body["prompt"] = json!("abc");
            body["temperature"] = json!(1.5);
            body["seed"] = json!(seed);
            body["n"] = json!(n);
            body
        };
        let all = client.answer(path, &ask(3, 5));
        let choices = all["choices"].as_array().expect("choices");
        assert_eq!(choices.len(), 3);
        let mut sums = [0, 0, 0];
        for (i, choice) in choices.iter().enumerate() {
            let alone = client.answer(path, &ask(1, 5 + i as u64));
            let mut expected = alone["choices"][0].clone();
            expected["index"] = json!(i);
            assert_eq!(choice, &expected);
            let usage = &alone["usage"];
            let routing = &usage["tokenroute"];
            let counts =
                [&usage["completion_tokens"], &routing["offloaded"], &routing["llm_calls"]];
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count.as_u64().expect("a count");
            }
        }
        let (usage, routing) = (&all["usage"], &all["usage"]["tokenroute"]);
        let counts = [&usage["completion_tokens"], &routing["offloaded"], &routing["llm_calls"]];
        assert_eq!(counts.map(|count| count.as_u64().expect("a count")), sums);
        assert_eq!(usage["prompt_tokens"], 3);

        let mut streams = ask(3, 5);
        streams["stream_options"] = json!({"include_usage": true});
        let chunks = client.chunks(path, &streams);
        let mut texts = vec![String::new(); 3];
        for choice in chunks.iter().filter_map(|chunk| chunk["choices"].get(0)) {
            let at = choice["index"].as_u64().expect("an index") as usize;
            let new = if path == CHAT { &choice["delta"]["content"] } else { &choice["text"] };
            texts[at] += new.as_str().unwrap_or_default();
        }
        for (choice, text) in choices.iter().zip(&texts) {
            let whole = if path == CHAT { &choice["message"]["content"] } else { &choice["text"] };
            assert_eq!(whole, text);
        }
        let last = chunks.last().expect("chunks");
        assert_eq!(last["usage"]["completion_tokens"], all["usage"]["completion_tokens"]);
    }
}
