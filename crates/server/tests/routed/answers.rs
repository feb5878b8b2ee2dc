//! Answers: the tokens of routed decoding, whole and in chunks, with their counts.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};
use tokenroute_core::{
    Ask, Bytes, Llm, LlmError, Origin, Position, Reply, Score, ScoreError, Scorer, Tau, Trace,
};
use tokenroute_llm::{InProcess, Scripted, ToyModel};
use tokenroute_runtime::{Calls, Pair, Policy, Request, Wait, decode};
use tokenroute_server::routed::{LlmMemory, RoutedService, ServeConfig, ServerLlm, ServerPair};

use crate::support::{
    Client, FirstNumber, Gate, Script, alone, forgetful, pair, routed, saying, served,
};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

/// The runtime's answer to a prompt.
fn decoded(prompt: &[u32], tau: f64, max_tokens: usize) -> Trace {
    let ((slm, llm), vocabulary) = (pair(), ToyModel::vocabulary());
    let llm = InProcess::new(llm);
    let request = Request { question: "", prompt, max_tokens };
    let tau = Tau::new(tau).expect("a threshold");
    decode(Pair::new(&slm, &llm, &vocabulary), &FirstNumber, tau, &[request], 1)
        .expect("an answer")
        .remove(0)
}

fn origins(trace: &Trace) -> Vec<&'static str> {
    let name = |origin| match origin {
        Origin::Slm => "slm",
        Origin::Llm => "llm",
        Origin::Degraded => "degraded",
    };
    trace.tokens.iter().map(|t| name(t.origin)).collect()
}

fn listed<'v>(told: &'v Value, field: &str) -> Vec<&'v Value> {
    told.as_array().expect("a list").iter().map(|token| &token[field]).collect()
}

#[test]
fn answers_are_those_of_routed_decoding_and_usage_adds_up() {
    let client = routed(ServeConfig::default());
    let (mut offloaded, mut made) = (0, 0);
    for (i, tau) in [0.0, 0.2, 0.5, 0.8, 1.0].into_iter().enumerate() {
        let prompt = [i as u32, 3, 1];
        let trace = decoded(&prompt, tau, 40);
        let body = json!({"prompt": prompt, "max_tokens": 40, "tau": tau, "tokenroute": true});
        let reply = client.answer(TEXT, &body);
        let told = &reply["tokenroute"];
        assert_eq!(listed(told, "id"), trace.ids().collect::<Vec<_>>(), "τ = {tau}");
        assert_eq!(listed(told, "origin"), origins(&trace));
        let texts: String = listed(told, "text").iter().filter_map(|t| t.as_str()).collect();
        assert_eq!(reply["choices"][0]["text"], texts);
        let finish = if trace.ended { "stop" } else { "length" };
        assert_eq!(reply["choices"][0]["finish_reason"], finish);
        let usage = &reply["usage"];
        assert_eq!(usage["prompt_tokens"], 3);
        assert_eq!(usage["completion_tokens"], trace.tokens.len());
        assert_eq!(usage["total_tokens"], 3 + trace.tokens.len());
        assert_eq!(usage["tokenroute"]["offloaded"], trace.offloaded());
        assert_eq!(usage["tokenroute"]["degraded"], 0);
        let positions = usage["tokenroute"]["llm_positions"].as_u64();
        assert_eq!(positions > Some(0), trace.offloaded() > 0);
        offloaded += trace.offloaded();
        made += trace.tokens.len();
    }
    assert_eq!(client.metric("tokenroute_tokens_total{origin=\"llm\"}"), offloaded as f64);
    assert_eq!(client.metric("tokenroute_first_token_seconds_count"), 5.0);
    assert_eq!(client.metric("tokenroute_between_tokens_seconds_count"), made as f64 - 5.0);
    assert_eq!(client.metric("tokenroute_requests_total{outcome=\"done\"}"), 5.0);
    assert_eq!(client.metric("tokenroute_prompt_tokens_total"), 15.0);
}

#[test]
fn tokens_made_during_a_wait_are_told_and_counted() {
    /// Offloads the third token.
    struct Third;
    impl Scorer for Third {
        fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
            Score::new(if position.index == 2 { 0.0 } else { 1.0 })
        }
    }
    let gate = Gate::default();
    let (door, key) = (gate.clone(), gate);
    let says = |tokens: &[u32]| tokens.len() as u32 % 8;
    let slm = Script::new(move |tokens| {
        if tokens.len() == 8 {
            key.open();
        }
        says(tokens)
    });
    let llm = Scripted::new(move |tokens| {
        door.pass();
        Ok(says(tokens))
    });
    let calls = Calls { threads: 1, together: 1 };
    let memory = LlmMemory::default();
    let large =
        ServerLlm { llm: Box::new(llm), scorer: Box::new(Third), calls, bytes: None, memory };
    let wait = Wait::Speculate { branches: NonZeroUsize::MIN, max_ahead: 0 };
    let policy = Policy { wait, ..Policy::new(Tau::new(0.5).expect("a threshold")) };
    let config = ServeConfig { policy, ..ServeConfig::default() };
    let client = Client::of(&RoutedService::new(served(slm, Some(large)), None, config));
    let reply = client.answer(TEXT, &json!({"prompt": [1], "max_tokens": 20, "tokenroute": true}));
    let told = reply["tokenroute"].as_array().expect("tokens");
    let marked: Vec<bool> = told.iter().map(|token| token["speculated"] == true).collect();
    // The seventh position has seven tokens before it; the large model may make the eighth.
    assert_eq!(marked[..7], [false, false, false, true, true, true, true]);
    assert_eq!(told[2]["origin"], "llm");
    let usage = &reply["usage"]["tokenroute"];
    assert_eq!(usage["speculated"], marked.iter().filter(|&&marked| marked).count());
    assert!(usage["speculated_positions"].as_u64() >= usage["speculated"].as_u64());
    assert_eq!(usage["rolled_back_positions"], 0);
}

#[test]
fn a_relay_is_told_in_the_model_s_card_and_counted_apart() {
    let with = |wait, tau| {
        let policy = Policy { wait, ..Policy::new(Tau::new(tau).expect("a threshold")) };
        routed(ServeConfig { policy, ..ServeConfig::default() })
    };
    let card = |client: &Client| client.get("/v1/models").json()["data"][0]["tokenroute"].clone();
    let tokens = NonZeroUsize::new(4).expect("positive");
    let client = with(Wait::Relay { tokens }, 1.0);
    assert_eq!(card(&client)["wait"], json!({"policy": "relay", "tokens": 4}));
    let ask = |more: Value| {
        let mut body = json!({"prompt": [1, 3, 1], "max_tokens": 12});
        body.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        let usage = client.answer(TEXT, &body)["usage"].clone();
        let count = |name: &str| usage["tokenroute"][name].as_u64().expect("a count");
        (usage["completion_tokens"].as_u64().expect("a count"), count("relayed"), count("waits"))
    };
    // The LLM alone, up to four tokens per call: all but the first of each are relayed, and the
    // answer waits for each call.
    let (made, relayed, waits) = ask(json!({}));
    assert_eq!((relayed, waits), (made - made.div_ceil(4), made.div_ceil(4)));
    assert_eq!(client.metric("tokenroute_relayed_tokens_total"), relayed as f64);
    assert_eq!(client.metric("tokenroute_held_tokens_total"), 0.0);
    assert_eq!(ask(json!({"tau": 0})).1, 0);
    let (made, ..) = ask(json!({"max_offload": 0}));
    assert_eq!(client.metric("tokenroute_held_tokens_total"), made as f64);

    let client = with(Wait::Block, 0.9932);
    assert_eq!(card(&client)["wait"], json!({"policy": "block"}));
    // Sent back, it means the same.
    assert!(client.get("/v1/models").text.contains("\"tau\":0.9932,"), "{}", card(&client));
    let branches = NonZeroUsize::new(2).expect("positive");
    let client = with(Wait::Speculate { branches, max_ahead: 8 }, 0.9);
    let expected = json!({"policy": "speculate", "branches": 2, "max_ahead": 8});
    assert_eq!(card(&client)["wait"], expected);
}

/// A large model whose every reply is 10 bytes up and 30 down.
struct Weighed(InProcess<ToyModel>);

impl Llm for Weighed {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let weigh = |reply: Reply| Reply { bytes: Bytes { up: 10, down: 30 }, ..reply };
        self.0.ask(asks).into_iter().map(|said| said.map(weigh)).collect()
    }

    fn forget(&self, prompt: &[u32]) {
        self.0.forget(prompt);
    }
}

#[test]
fn bytes_are_counted_for_each_answer_of_many() {
    let policy = Policy::new(Tau::new(0.5).expect("a threshold"));
    let config = ServeConfig { policy, ..ServeConfig::default() };
    let calls = Calls { threads: 2, together: 1 };
    let (scorer, bytes) = (Box::new(FirstNumber), Some(Arc::new(Bytes::default) as _));
    let (llm, memory) = (Box::new(Weighed(InProcess::new(pair().1))), LlmMemory::default());
    let large = ServerLlm { llm, scorer, calls, bytes, memory };
    let client = Client::of(&RoutedService::new(served(pair().0, Some(large)), None, config));
    let ask = |i: u32| client.answer(TEXT, &json!({"prompt": [i, 3, 1], "max_tokens": 40}));
    let usages: Vec<Value> = thread::scope(|scope| {
        let asking: Vec<_> = (0..6).map(|i| scope.spawn(move || ask(i))).collect();
        let replies = asking.into_iter().map(|reply| reply.join().expect("no panic"));
        replies.map(|reply| reply["usage"]["tokenroute"].clone()).collect()
    });
    let mut called = 0;
    for usage in &usages {
        let calls = usage["llm_calls"].as_u64().expect("a count");
        assert_eq!(
            (&usage["bytes_up"], &usage["bytes_down"]),
            (&json!(10 * calls), &json!(30 * calls))
        );
        called += calls;
    }
    assert!(called > 10, "{usages:?}");
    let here = routed(config).answer(TEXT, &json!({"prompt": [1, 3, 1]}));
    assert_eq!(here["usage"]["tokenroute"].get("bytes_up"), None, "no network, no bytes");
}

#[test]
fn the_next_message_is_read_from_where_it_goes_on() {
    let talk = |config| {
        let client = routed(config);
        let ask = |prompt: &[u32]| {
            let body = json!({"prompt": prompt, "max_tokens": 6, "tau": 0.5, "tokenroute": true});
            client.answer(TEXT, &body)
        };
        let mut prompt: Vec<u32> = vec![1, 2, 3, 4, 5];
        let first = ask(&prompt);
        let said = listed(&first["tokenroute"], "id");
        prompt.extend(said.iter().filter_map(|id| id.as_u64()).map(|id| id as u32).chain([7, 1]));
        (prompt.len() as u64, ask(&prompt))
    };
    let (length, again) = talk(ServeConfig::default());
    let (_, fresh) = talk(forgetful());
    assert_eq!(again["choices"], fresh["choices"]);
    let read = |reply: &Value| reply["usage"]["tokenroute"]["slm_positions"].as_u64();
    // The last token of the first answer was generated but not processed.
    assert_eq!(read(&fresh), read(&again).map(|read| read + length - 3));
}

#[test]
fn a_stream_is_the_reply_in_pieces() {
    let client = routed(forgetful());
    for (path, i) in [(TEXT, 0), (CHAT, 0), (TEXT, 1), (CHAT, 1), (TEXT, 2), (CHAT, 2)] {
        let said = ["abc", "dead", "hgf"][i];
        let mut body = json!({
            "prompt": said, "messages": [{"role": "user", "content": said}], "max_tokens": 30,
            "tau": 0.5, "tokenroute": true, "stream_options": {"include_usage": true},
            "stop": ["bh", "hellob"],
        });
        let whole = client.answer(path, &body);
        let mut chunks = client.chunks(path, &body);
        let last = chunks.pop().expect("usage");
        assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
        let choice = &whole["choices"][0];
        let whole_text = if path == TEXT { &choice["text"] } else { &choice["message"]["content"] };
        let (mut text, mut told, mut finish) = (String::new(), vec![], Value::Null);
        for (at, chunk) in chunks.iter().enumerate() {
            assert_eq!(chunk["usage"], Value::Null);
            assert_eq!(finish, Value::Null, "nothing comes after the end");
            let choice = &chunk["choices"][0];
            let new = match path {
                TEXT => choice["text"].as_str(),
                _ => choice["delta"].get("content").map_or(Some(""), Value::as_str),
            };
            assert!(path == TEXT || (at == 0) == (choice["delta"]["role"] == "assistant"));
            text += new.expect("text");
            told.extend(chunk["tokenroute"].as_array().into_iter().flatten().cloned());
            finish = choice["finish_reason"].clone();
        }
        assert_eq!(*whole_text, text);
        assert_eq!(whole["tokenroute"], Value::from(told));
        assert_eq!(choice["finish_reason"], finish);

        // Without our fields a client gets only OpenAI's.
        for field in ["tokenroute", "stream_options"] {
            body[field] = Value::Null;
        }
        let plain = client.chunks(path, &body);
        assert!(plain.iter().all(|c| c.get("tokenroute").is_none() && c.get("usage").is_none()));
    }
}

/// The text of a scripted answer, also compared with its chunks.
fn said(answer: &'static [u32], stop: &Value) -> (String, Value, u64) {
    said_by(&alone(saying(answer), ServeConfig::default()), answer, stop)
}

fn said_by(client: &Client, answer: &[u32], stop: &Value) -> (String, Value, u64) {
    let body = json!({"prompt": [0], "max_tokens": answer.len(), "stop": stop, "tokenroute": true});
    let reply = client.answer(TEXT, &body);
    let chunks = client.chunks(TEXT, &body);
    let pieces: Vec<&str> =
        chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
    let choice = &reply["choices"][0];
    assert_eq!(choice["text"], pieces.concat());
    let told: Vec<&str> = reply["tokenroute"]
        .as_array()
        .expect("tokens")
        .iter()
        .filter_map(|t| t["text"].as_str())
        .collect();
    assert_eq!(choice["text"], told.concat());
    let made = reply["usage"]["completion_tokens"].as_u64().expect("a count");
    assert_eq!(made, told.len() as u64);
    let text = choice["text"].as_str().expect("text").to_owned();
    (text, choice["finish_reason"].clone(), made)
}

#[test]
fn stop_strings_hold_across_tokens_and_within_them() {
    // hello wor ld a b
    let answer: &[u32] = &[8, 9, 10, 0, 1];
    for (stop, text, finish, made) in [
        (json!(null), "hello worldab", "length", 5),
        (json!("world"), "hello ", "stop", 3),
        (json!(["xyz", "o w"]), "hell", "stop", 2),
        (json!("l"), "he", "stop", 1),
        (json!("abc"), "hello worldab", "length", 5),
        (json!(["dax", "ab"]), "hello world", "stop", 5),
        (json!(["b", "worlda"]), "hello ", "stop", 4),
        (json!("h"), "", "stop", 1),
    ] {
        assert_eq!(said(answer, &stop), (text.to_owned(), json!(finish), made), "{stop}");
    }
}

#[test]
fn a_separator_ends_every_answer_as_a_stop_string_does() {
    // hello wor ld a b
    let answer: &[u32] = &[8, 9, 10, 0, 1];
    for (separator, text, finish, made) in [
        ("o w", "hell", "stop", 2),
        ("dab", "hello worl", "stop", 5),
        ("abc", "hello worldab", "length", 5),
    ] {
        let plain = served(saying(answer), None);
        let vocabulary = plain.tokenizer.separated(plain.vocabulary, separator);
        let pair = ServerPair { vocabulary: vocabulary.expect("tokens"), ..plain };
        let client = Client::of(&RoutedService::new(pair, None, ServeConfig::default()));
        let expected = (text.to_owned(), json!(finish), made);
        assert_eq!(said_by(&client, answer, &json!(null)), expected, "{separator:?}");
        // A request's own stop strings hold beside it.
        let own = said_by(&client, answer, &json!("ll"));
        assert_eq!(own, ("he".to_owned(), json!("stop"), 1), "{separator:?}");
    }
}

#[test]
fn half_a_character_is_never_sent() {
    // é in two tokens; half of it at the end of the answer; an end token after half.
    assert_eq!(said(&[12, 13, 0], &json!(null)), ("éa".to_owned(), json!("length"), 3));
    assert_eq!(said(&[0, 12], &json!(null)), ("a".to_owned(), json!("length"), 2));
    assert_eq!(said(&[0, 12, 14], &json!(null)), ("a".to_owned(), json!("stop"), 3));
    assert_eq!(said(&[0, 12, 13, 14], &json!("é")), ("a".to_owned(), json!("stop"), 3));
    let client = alone(saying(&[12, 13, 14]), ServeConfig::default());
    for chunk in client.chunks(TEXT, &json!({"prompt": [0]})) {
        assert!(!chunk.to_string().contains('\u{FFFD}'), "{chunk}");
    }
}

#[test]
fn the_small_model_alone_has_no_scores_and_no_large_one() {
    let client = alone(pair().0, ServeConfig::default());
    let trace = decoded(&[5], 0.0, 20);
    let body = json!({"prompt": [5], "max_tokens": 20, "tokenroute": true, "tau": 0});
    let reply = client.answer(TEXT, &body);
    assert_eq!(listed(&reply["tokenroute"], "id"), trace.ids().collect::<Vec<_>>());
    assert!(listed(&reply["tokenroute"], "score").iter().all(|score| score.is_null()));
    assert_eq!(client.get("/v1/models").json()["data"][0]["tokenroute"]["routed"], false);
    for (field, value) in [("tau", 0.5), ("max_offload", 0.1)] {
        let reply = client.post(TEXT, &json!({"prompt": [5], field: value}).to_string());
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"]["param"], field);
        assert!(reply.text.contains("--llm"), "{}", reply.text);
    }
}

#[test]
fn many_at_once_get_what_each_gets_alone() {
    let client = routed(ServeConfig::default());
    thread::scope(|scope| {
        for worker in 0..8_u32 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..4 {
                    let tau = f64::from(worker % 3) * 0.3;
                    let prompt = [worker, round, 2];
                    let body =
                        json!({"prompt": prompt, "max_tokens": 25, "tau": tau, "tokenroute": true});
                    let trace = decoded(&prompt, tau, 25);
                    let reply = client.answer(TEXT, &body);
                    let told = &reply["tokenroute"];
                    assert_eq!(listed(told, "id"), trace.ids().collect::<Vec<_>>());
                    assert_eq!(listed(told, "origin"), origins(&trace));
                }
            });
        }
    });
}
