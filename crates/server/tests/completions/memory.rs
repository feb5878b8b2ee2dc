//! Memory: a reply is bounded before it is computed, and requests stay within the process's
//! limit.

use std::sync::Arc;

use serde_json::{Value, json};
use tokenroute_llm::ToyModel;
use tokenroute_server::completions::BatchConfig;
use tokenroute_server::net::{MemoryLimit, ServerError};

use crate::support::{completed, post, serve, start};

/// The least limit for a toy.
fn least() -> usize {
    let memory = Some(MemoryLimit { total: 1, loaded: 0 });
    let config = BatchConfig { memory, ..BatchConfig::default() };
    match start(ToyModel::new(1), None, config) {
        Err(ServerError::NoMemory { least, .. }) => least,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_reply_that_lists_too_many_tokens_is_refused_before_it_is_computed() {
    let toy = Arc::new(ToyModel::new(1));
    let server = serve(Arc::clone(&toy), None, BatchConfig::default());
    let prompts = vec![vec![1; 512]; 256];
    for (field, body) in [
        ("prompt_logprobs", json!({"prompt": prompts, "max_tokens": 1, "prompt_logprobs": 20})),
        ("logprobs", json!({"prompt": [[1], [2]], "max_tokens": 4096, "logprobs": 20})),
        ("logprobs", json!({"prompt": prompts, "max_tokens": 0, "logprobs": 20, "echo": true})),
    ] {
        let (status, text) = post(&server, None, &body.to_string());
        let error: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((status, &error["error"]["param"]), (400, &json!(field)), "{text}");
        assert!(text.contains("at most 131072"), "{text}");
    }
    assert_eq!(toy.processed(), 0);
    let body = json!({"prompt": prompts[..2], "max_tokens": 1, "prompt_logprobs": 20});
    let reply = completed(&server, &body);
    assert_eq!(reply["choices"][1]["prompt_logprobs"].as_array().map(Vec::len), Some(512));
}

#[test]
fn requests_beyond_the_limit_are_refused_and_memory_comes_back() {
    // Beside what a request takes at least: 100 kB, of which a quarter may be kept.
    let total = least() + 100_000;
    let memory = Some(MemoryLimit { total, loaded: 0 });
    let toy = Arc::new(ToyModel::new(1));
    let server = serve(Arc::clone(&toy), None, BatchConfig { memory, ..BatchConfig::default() });
    let named = format!("--memory {total}");
    for body in [
        // The KV cache and the tokens.
        json!({"prompt": [1], "max_tokens": 4000}),
        // The parsed numbers.
        json!({"prompt": vec![1; 4000], "max_tokens": 1}),
        // The echoed tokens: without `echo` the same request has room.
        json!({"prompt": vec![1; 500], "max_tokens": 1, "echo": true, "logprobs": 1}),
    ] {
        let (status, text) = post(&server, None, &body.to_string());
        assert_eq!(status, 503, "{text}");
        assert!(text.contains(&named) && text.contains("for requests"), "{text}");
    }
    assert_eq!(toy.processed(), 0);
    let body = json!({"prompt": [3], "max_tokens": 900});
    let free = serve(ToyModel::new(1), None, BatchConfig::default());
    let alone = completed(&free, &body)["choices"].clone();
    for _ in 0..20 {
        // The connection of the last reply may hold it a moment longer.
        let answered = (0..1000).map(|_| post(&server, None, &body.to_string()));
        let (_, text) = answered.into_iter().find(|(status, _)| *status == 200).expect("memory");
        let reply: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(reply["choices"], alone);
    }
}
