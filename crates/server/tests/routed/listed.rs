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
fn completions_list_the_same_in_their_own_shape() {
    let client = routed(forgetful());
    let mut chat = chat();
    (chat["logprobs"], chat["top_logprobs"]) = (json!(true), json!(2));
    let content = client.answer(CHAT, &chat)["choices"][0]["logprobs"]["content"].clone();
    let content = content.as_array().expect("a list");
    // The chat's prompt.
    let mut body = json!({"prompt": [0, 1, 2], "max_tokens": 24, "tau": 0.5, "logprobs": 2});
    let choice = client.answer(TEXT, &body)["choices"][0].clone();
    let lists = &choice["logprobs"];
    let list = |name: &str| lists[name].as_array().expect("a list").clone();
    let of = |name: &str| content.iter().map(|entry| entry[name].clone()).collect::<Vec<_>>();
    assert_eq!((list("tokens"), list("token_logprobs")), (of("token"), of("logprob")));
    for (top, entry) in list("top_logprobs").iter().zip(content) {
        let best = &entry["top_logprobs"][0];
        assert_eq!(top[best["token"].as_str().expect("a text")], best["logprob"]);
    }
    // A character of several tokens is in the text once, with the last of them.
    let text: Vec<char> = choice["text"].as_str().expect("a text").chars().collect();
    let offsets: Vec<usize> =
        list("text_offset").iter().map(|at| at.as_u64().expect("a place") as usize).collect();
    assert!(offsets[0] == 0 && offsets.is_sorted() && offsets.len() == content.len());
    for (token, at) in list("tokens").iter().zip(&offsets) {
        let token = token.as_str().expect("a text");
        // A character that was never finished is in the text of the token after it.
        let there = text[*at..].iter().skip_while(|&&c| c == '\u{FFFD}');
        let there: String = there.take(token.chars().count()).collect();
        assert!(token.contains('\u{FFFD}') || there == token, "{token:?} at {at}: {there:?}");
    }
    let chunks = client.chunks(TEXT, &body);
    for name in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        let parts =
            chunks.iter().filter_map(|chunk| chunk["choices"][0]["logprobs"][name].as_array());
        assert_eq!(parts.flatten().cloned().collect::<Vec<_>>(), list(name), "{name}");
    }
    body["logprobs"] = json!(0);
    let none = client.answer(TEXT, &body)["choices"][0]["logprobs"].clone();
    assert_eq!(none["token_logprobs"], lists["token_logprobs"]);
    assert_eq!(none["top_logprobs"][0], json!({}));
    body["logprobs"] = Value::Null;
    assert_eq!(client.answer(TEXT, &body)["choices"][0]["logprobs"], Value::Null);
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
