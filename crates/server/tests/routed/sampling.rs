//! Answers at a temperature: draws depend on the request alone, and the reply names them.

use std::thread;

use serde_json::{Value, json};
use tokenroute_server::routed::ServeConfig;

use crate::support::{forgetful, routed};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn body(temperature: f64, seed: i64) -> Value {
    json!({
        "prompt": "abc", "messages": [{"role": "user", "content": "abc"}], "max_tokens": 24,
        "tau": 0.5, "tokenroute": true, "temperature": temperature, "seed": seed,
    })
}

#[test]
fn a_seed_gives_one_answer_and_the_reply_says_that_it_was_drawn() {
    let client = routed(forgetful());
    for path in [TEXT, CHAT] {
        let ask = |temperature, seed| client.answer(path, &body(temperature, seed));
        let (warm, greedy) = (ask(1.5, 1), ask(0.0, 1));
        assert_eq!(warm["choices"], ask(1.5, 1)["choices"]);
        assert_eq!(warm["tokenroute"], ask(1.5, 1)["tokenroute"]);
        assert_ne!(warm["tokenroute"], ask(1.5, -2)["tokenroute"]);
        assert_ne!(warm["tokenroute"], greedy["tokenroute"]);
        assert_eq!(ask(1e-6, 1)["tokenroute"], greedy["tokenroute"], "near 0");

        assert_eq!(warm["sampling"], json!({"temperature": 1.5, "top_p": 1.0, "seed": 1}));
        assert!(warm["note"].as_str().is_some_and(|note| note.contains("greedy")), "{warm}");
        assert!(greedy.get("note").is_none() && greedy.get("sampling").is_none());
        // A request without a temperature is greedy.
        let mut silent = body(0.0, 1);
        silent["temperature"] = json!(null);
        assert_eq!(client.answer(path, &silent)["choices"], greedy["choices"]);
        // The seed is 0 unless the request sets one.
        let mut unseeded = body(1.5, 0);
        unseeded.as_object_mut().map(|fields| fields.remove("seed"));
        assert_eq!(client.answer(path, &unseeded)["choices"], ask(1.5, 0)["choices"]);

        let chunks = client.chunks(path, &body(1.5, 1));
        let told: Vec<Value> = chunks
            .iter()
            .filter_map(|chunk| chunk["tokenroute"].as_array().cloned())
            .flatten()
            .collect();
        assert_eq!(json!(told), warm["tokenroute"], "a stream draws the same");
        let (last, before) = chunks.split_last().expect("chunks");
        assert_eq!((&last["sampling"], &last["note"]), (&warm["sampling"], &warm["note"]));
        assert!(before.iter().all(|chunk| chunk.get("note").is_none()), "once is enough");
    }
}

#[test]
fn the_seed_of_a_reply_can_be_sent_back() {
    let client = routed(forgetful());
    for (seed, told) in [
        (json!(-1), u64::MAX),
        (json!(i64::MIN), 1 << 63),
        (json!(i64::MAX), (1 << 63) - 1),
        (json!(u64::MAX), u64::MAX),
    ] {
        let ask = |seed: &Value| {
            let mut body = body(1.5, 0);
            body["seed"] = seed.clone();
            client.answer(TEXT, &body)
        };
        let first = ask(&seed);
        assert_eq!(first["sampling"]["seed"], told, "{seed}");
        let again = ask(&first["sampling"]["seed"]);
        assert_eq!(first["tokenroute"], again["tokenroute"], "{seed}");
    }
}

#[test]
fn what_else_is_served_changes_no_draw() {
    let draws: Vec<Value> = (0..12).map(|i| body([0.0, 0.7, 1.5][i % 3], i as i64 / 2)).collect();
    let alone: Vec<Value> =
        draws.iter().map(|body| routed(forgetful()).answer(TEXT, body)).collect();
    let client = routed(ServeConfig { sessions: 5, ..ServeConfig::default() });
    let together: Vec<Value> = thread::scope(|scope| {
        let asked: Vec<_> =
            draws.iter().map(|body| scope.spawn(|| client.answer(TEXT, body))).collect();
        asked.into_iter().map(|answer| answer.join().expect("an answer")).collect()
    });
    for (alone, together) in alone.iter().zip(&together) {
        assert_eq!(alone["choices"], together["choices"]);
        assert_eq!(alone["tokenroute"], together["tokenroute"]);
    }
}
