//! A toy model served over HTTP: the same tokens as in process, OpenAI's shapes, and
//! refusals.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokenroute_core::{Ask, Detail, Feed, LanguageModel, Llm, TokenId};
use tokenroute_llm::http::Api;
use tokenroute_llm::{InProcess, ToyModel};
use tokenroute_server::completions::{BatchConfig, CompletionService};
use tokenroute_server::net::ServerError;

use crate::support::{Letters, client, completed, post, post_with, serve};

#[test]
fn the_same_tokens_as_in_process_from_many_threads() {
    let server = serve(ToyModel::new(3), None, BatchConfig::default());
    let llm = client(&server);
    assert_eq!(llm.server().expect("a server").api, Api::Tokenroute);
    let contexts: Vec<Vec<TokenId>> =
        (0..40u32).map(|i| (0..4 + i % 23).map(|j| (i / 3 + j * j) % 14).collect()).collect();
    let plain = InProcess::new(ToyModel::new(3));
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (llm, plain, contexts) = (&llm, &plain, &contexts);
            scope.spawn(move || {
                let asks: Vec<Ask<'_>> =
                    contexts.iter().map(|c| Ask::greedy(c, 1 + (worker * 5) % c.len())).collect();
                for (ours, theirs) in llm.ask(&asks).into_iter().zip(plain.ask(&asks)) {
                    let (ours, theirs) = (ours.expect("an answer"), theirs.expect("an answer"));
                    assert_eq!(ours.tokens, theirs.tokens);
                }
            });
        }
    });
    server.stop().expect("an orderly end");
}

#[test]
fn what_was_read_is_not_read_again() {
    let server = serve(ToyModel::new(3), None, BatchConfig::default());
    let llm = client(&server);
    let prompt: Vec<TokenId> = (0..1500).map(|i| i % 11).collect();
    let positions = |to: usize, from: usize| {
        llm.ask(&[Ask::greedy(&prompt[..to], from)])[0].as_ref().expect("an answer").positions
    };
    assert_eq!(positions(1200, 1200), 1200, "in chunks");
    assert_eq!(positions(1201, 1201), 1);
    assert_eq!(positions(1300, 1250), 99);
    assert_eq!(positions(1300, 1300), 1, "the last token is read anew");
    assert_eq!(positions(100, 100), 1, "inside a longer one");

    let config = BatchConfig { kept_positions: 10, ..BatchConfig::default() };
    let forgetful = serve(ToyModel::new(3), None, config);
    let llm = client(&forgetful);
    for _ in 0..2 {
        let reply = &llm.ask(&[Ask::greedy(&prompt[..50], 50)])[0];
        assert_eq!(reply.as_ref().expect("an answer").positions, 50, "too long to keep");
    }
}

#[test]
fn replies_have_openai_s_shape_and_true_log_probabilities() {
    let server = serve(ToyModel::new(5), None, BatchConfig::default());
    let reply = completed(
        &server,
        &json!({
            "model": "toy", "prompt": [[1, 2, 3], [4, 5]], "max_tokens": 6, "temperature": 0.0,
            "logprobs": 3, "return_token_ids": true, "prompt_logprobs": 2,
        }),
    );
    assert_eq!(reply["object"], "text_completion");
    assert_eq!(reply["model"], "toy");
    let toy = ToyModel::new(5);
    let mut made = 0;
    for (index, prompt) in [vec![1, 2, 3], vec![4, 5]].into_iter().enumerate() {
        let choice = &reply["choices"][index];
        assert_eq!(choice["prompt_token_ids"], json!(prompt));
        let ids: Vec<TokenId> = serde_json::from_value(choice["token_ids"].clone()).expect("ids");
        made += ids.len();
        let all = [&prompt[..], &ids].concat();
        let mut state = toy.start();
        let mut feeds = [Feed { state: &mut state, tokens: &all, from: 0 }];
        let steps = toy.advance(&mut feeds, Detail::Logits).expect("steps").remove(0);
        let logprob = |at: usize, id: TokenId| {
            let logits = steps[at - 1].logits.as_ref().expect("logits");
            let sum: f32 = logits.iter().map(|x| x.exp()).sum();
            f64::from(logits[id as usize] - sum.ln())
        };
        for (i, &id) in ids.iter().enumerate() {
            let at = prompt.len() + i;
            assert_eq!(id, steps[at - 1].token);
            let own = choice["logprobs"]["token_logprobs"][i].as_f64().expect("a number");
            assert!((own - logprob(at, id)).abs() < 1e-5);
            let top = choice["logprobs"]["top_logprobs"][i].as_object().expect("an object");
            assert!((1..=3).contains(&top.len()), "three tokens, some of one text");
        }
        assert_eq!(choice["prompt_logprobs"][0], Value::Null);
        for at in 1..prompt.len() {
            let entry = &choice["prompt_logprobs"][at];
            let best = &entry[steps[at - 1].token.to_string()];
            assert_eq!(best["rank"], 1);
            let own = entry[prompt[at].to_string()]["logprob"].as_f64().expect("a number");
            assert!((own - logprob(at, prompt[at])).abs() < 1e-5);
        }
        let ended = ids.last().is_some_and(|&id| id >= 14);
        assert_eq!(choice["finish_reason"], if ended { "stop" } else { "length" });
        assert!(ended || ids.len() == 6);
    }
    assert_eq!(reply["usage"]["prompt_tokens"], 5);
    assert_eq!(reply["usage"]["completion_tokens"], made);
    let text = completed(&server, &json!({"prompt": "bcd", "max_tokens": 6}));
    assert_eq!(text["choices"][0]["text"], reply["choices"][0]["text"], "the same prompt as text");
    assert_eq!(text["choices"][0].get("token_ids"), None);
}

#[test]
fn a_stream_is_the_reply_in_pieces() {
    for seed in 0..6 {
        let server = serve(ToyModel::new(seed), None, BatchConfig::default());
        let mut body = json!({
            "prompt": [[1, 2, 3], [4]], "max_tokens": 12, "return_token_ids": true, "logprobs": 1,
        });
        let whole = completed(&server, &body);
        body["stream"] = json!(true);
        let (status, stream) = post(&server, None, &body.to_string());
        assert_eq!(status, 200);
        let mut data: Vec<&str> = stream.lines().filter_map(|l| l.strip_prefix("data: ")).collect();
        assert_eq!(data.pop(), Some("[DONE]"));
        let (mut texts, mut ids) = ([String::new(), String::new()], [vec![], vec![]]);
        let mut reasons = [Value::Null, Value::Null];
        for piece in data {
            let piece: Value = serde_json::from_str(piece).expect("JSON");
            let choice = &piece["choices"][0];
            let at = choice["index"].as_u64().expect("an index") as usize;
            texts[at] += choice["text"].as_str().expect("a text");
            let new = choice["token_ids"].as_array().expect("ids");
            assert!(new.len() <= 1, "token by token");
            ids[at].extend(new.iter().cloned());
            assert_eq!(reasons[at], Value::Null, "nothing comes after the end");
            reasons[at] = choice["finish_reason"].clone();
        }
        for at in 0..2 {
            let choice = &whole["choices"][at];
            assert_eq!(choice["text"], texts[at].as_str(), "seed {seed}");
            assert_eq!(choice["token_ids"], json!(ids[at]));
            assert_eq!(choice["finish_reason"], reasons[at]);
        }
    }
}

#[test]
fn requests_that_cannot_be_met_are_refused_by_name() {
    let server = serve(ToyModel::new(1), None, BatchConfig::default());
    let many = json!({"prompt": vec![[1]; 257]}).to_string();
    let long = json!({"prompt": vec![1; 5000]}).to_string();
    for (body, status, part) in [
        ("{", 400, "is not JSON"),
        ("{}", 400, "prompt"),
        (r#"{"prompt": []}"#, 400, "0 tokens"),
        (r#"{"prompt": [16]}"#, 400, "token id 16 is outside the vocabulary of 16"),
        (r#"{"prompt": [1], "model": "gpt"}"#, 404, "no model \\\"gpt\\\""),
        (
            r#"{"prompt": [1], "temperature": 2.5}"#,
            400,
            "temperature is 2.5; expected 0 (greedy) to 2",
        ),
        (r#"{"prompt": [1], "temperature": -1}"#, 400, "temperature is -1"),
        (r#"{"prompt": [1], "top_p": 0}"#, 400, "top_p is 0; expected a number above 0"),
        (r#"{"prompt": [1], "seed": "x"}"#, 400, "`seed` is \\\"x\\\"; expected a whole number"),
        (r#"{"prompt": [1], "seed": 1.5}"#, 400, "from -2^63 to 2^64 - 1"),
        (r#"{"prompt": [1], "n": 2}"#, 400, "`n` must be 1"),
        (r#"{"prompt": [1], "echo": 1}"#, 400, "`echo` is 1; expected true or false"),
        (r#"{"prompt": [1], "echo": true, "stream": true}"#, 400, "`echo` cannot be streamed"),
        (r#"{"prompt": [1], "echo": true, "prompt_logprobs": 1}"#, 400, "leave one of them out"),
        (r#"{"prompt": [1], "stop": ["x"]}"#, 400, "stop"),
        (r#"{"prompt": [1], "logprobs": 21}"#, 400, "`logprobs` is 21"),
        (r#"{"prompt": [1], "prompt_logprobs": 1, "prompt_logprobs_start": 2}"#, 400, "is 2"),
        (&many, 400, "257 prompts"),
        (&long, 400, "5000 tokens; expected 1 to 4096"),
    ] {
        let (found, text) = post(&server, None, body);
        assert_eq!(found, status, "{body}: {text}");
        assert!(text.contains(part) && text.contains("\"error\""), "{body}: {text}");
    }
    let huge = format!("{{\"prompt\": \"{}\"}}", "a".repeat(8 << 20));
    assert_eq!(post(&server, None, &huge).0, 413);
}

#[test]
fn a_key_guards_the_model_and_open_addresses_want_one() {
    let server = serve(ToyModel::new(1), Some("sesame"), BatchConfig::default());
    let body = r#"{"prompt": [1]}"#;
    for key in [None, Some("sesam"), Some("sesame2"), Some("")] {
        let (status, text) = post(&server, key, body);
        assert_eq!(status, 401, "{key:?}");
        assert!(!text.contains("sesame"), "{text}");
    }
    assert_eq!(post(&server, Some("sesame"), body).0, 200);
    assert!(client(&server).server().is_err(), "the list of models is guarded too");

    let open: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
    let (toy, vocabulary) = (ToyModel::new(1), ToyModel::vocabulary());
    let config = BatchConfig::default();
    let texts = Box::new(Letters);
    let service = CompletionService::new("toy".into(), toy, vocabulary, texts, None, config);
    let error = service.start(open).expect_err("no key");
    assert!(matches!(error, ServerError::NoKey { .. }), "{error:?}");
}

#[test]
fn a_page_from_elsewhere_cannot_ask_without_a_key() {
    let body = r#"{"prompt": [1]}"#;
    let (evil, origin) = ("evil.example", "https://evil.example");
    for (key, expected) in [(None, [200, 200, 403, 403]), (Some("sesame"), [200; 4])] {
        let server = serve(ToyModel::new(1), key, BatchConfig::default());
        let own = server.address().to_string();
        for ((host, origin), expected) in
            [(&*own, None), ("localhost", None), (evil, Some(origin)), (&own, Some(origin))]
                .into_iter()
                .zip(expected)
        {
            let mut headers = vec![("host", host.to_owned())];
            headers.extend(origin.map(|origin| ("origin", origin.to_owned())));
            headers.extend(key.map(|key| ("authorization", format!("Bearer {key}"))));
            let (status, text) = post_with(&server, &headers, body);
            assert_eq!(status, expected, "{key:?} {host} {origin:?}: {text}");
            assert_eq!(status == 403, text.contains("permission_error"), "{text}");
        }
    }
}
