//! Requests: fields that are accepted, fields that are refused, messages as a prompt.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use tokenroute_llm::ToyModel;
use tokenroute_model::ChatTemplate;
use tokenroute_server::routed::{RoutedService, ServeConfig, ServerPair};

use crate::support::{Client, Script, alone, forgetful, pair, routed, served, until};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn user(content: &Value) -> Value {
    json!({"messages": [{"role": "user", "content": content}], "max_tokens": 4})
}

#[test]
fn replies_have_openai_s_shape() {
    let client = routed(forgetful());
    let chat = client.answer(CHAT, &user(&json!("abc")));
    assert_eq!(chat["object"], "chat.completion");
    assert_eq!(chat["model"], "toy");
    assert!(chat["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")));
    assert!(chat["created"].as_u64().is_some_and(|created| created > 1_700_000_000));
    assert_eq!(chat["choices"][0]["message"]["role"], "assistant");
    assert_eq!(chat["choices"].as_array().map(Vec::len), Some(1));
    assert_eq!(chat.get("tokenroute"), None);
    let text = client.answer(TEXT, &json!({"model": "toy", "prompt": "abc", "max_tokens": 4}));
    assert_eq!(text["object"], "text_completion");
    assert!(text["id"].as_str().is_some_and(|id| id.starts_with("cmpl-")));
    assert_eq!(text["choices"][0]["text"], chat["choices"][0]["message"]["content"]);
    assert_eq!(text["usage"], chat["usage"]);
    let chunk = &client.chunks(CHAT, &user(&json!("abc")))[0];
    assert_eq!(chunk["object"], "chat.completion.chunk");

    let models = client.get("/v1/models").json();
    assert_eq!(models["data"][0]["id"], "toy");
    assert_eq!(models["data"][0], client.get("/v1/models/toy").json());
    assert_eq!(client.get("/v1/models/gpt").status, 404);
    assert_eq!(client.get("/health").text, "ok");
    assert_eq!(client.get("/v1/embeddings").json()["error"]["type"], "invalid_request_error");
}

#[test]
fn a_prompt_may_come_in_many_forms() {
    let client = routed(ServeConfig::default());
    let expected = client.answer(TEXT, &json!({"prompt": "abc", "max_tokens": 4}));
    for prompt in [json!([0, 1, 2]), json!(["abc"]), json!([[0, 1, 2]])] {
        let reply = client.answer(TEXT, &json!({"prompt": prompt, "max_tokens": 4}));
        assert_eq!(reply["choices"], expected["choices"], "{prompt}");
    }
    let expected = client.answer(CHAT, &user(&json!("abc")));
    for messages in [
        json!([{"role": "system", "content": "a"}, {"role": "user", "content": "bc"}]),
        json!([{"role": "developer", "content": "a"}, {"role": "user", "content": "bc"}]),
        json!([{"role": "user", "name": "me", "content": [{"type": "text", "text": "ab"}, {"type": "text", "text": "c"}]}]),
    ] {
        let reply = client.answer(CHAT, &json!({"messages": messages, "max_tokens": 4}));
        assert_eq!(reply["choices"], expected["choices"], "{messages}");
    }
}

#[test]
fn fields_that_change_nothing_are_taken_and_unknown_ones_ignored() {
    let client = routed(forgetful());
    let plain = json!({"prompt": "abc", "max_tokens": 12, "tau": 0.5});
    let expected = client.answer(TEXT, &plain);
    for (field, value) in [
        ("temperature", json!(0)),
        ("temperature", json!(null)),
        ("seed", json!(7)),
        ("top_p", json!(0.9)),
        ("user", json!("me")),
        ("metadata", json!({"a": 1})),
        ("n", json!(1)),
        ("stop", json!(null)),
        ("echo", json!(false)),
        ("max_offload", json!(1)),
        ("something_new", json!([1, 2])),
    ] {
        let mut body = plain.clone();
        body[field] = value;
        assert_eq!(client.answer(TEXT, &body)["choices"], expected["choices"], "{field}");
    }
    let extra = json!({"prompt": "abc", "max_tokens": 12, "extra_body": {"tau": 0.5}});
    assert_eq!(client.answer(TEXT, &extra)["usage"], expected["usage"]);
    let zero = json!({"prompt": "abc", "max_tokens": 12, "tau": 1, "max_offload": 0});
    assert_eq!(client.answer(TEXT, &zero)["usage"]["tokenroute"]["offloaded"], 0);
    let tight = json!({"prompt": "abc", "max_tokens": 30, "tau": 1, "max_offload": 0.1});
    let usage = &client.answer(TEXT, &tight)["usage"];
    let made = usage["completion_tokens"].as_u64().expect("a count");
    let offloaded = usage["tokenroute"]["offloaded"].as_u64().expect("a count");
    assert!(offloaded >= 1 && offloaded <= 1.max(made / 10), "{usage}");
    let both = json!({"messages": [{"role": "user", "content": "abc"}], "max_tokens": 9,
                      "max_completion_tokens": 1});
    assert_eq!(client.answer(CHAT, &both)["usage"]["completion_tokens"], 1);
}

#[test]
fn special_tokens_in_messages_are_refused_by_name_unless_allowed() {
    let plain = routed(forgetful());
    let allowing = routed(ServeConfig { allow_special_tokens: true, ..forgetful() });
    let part = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "<END>b"}]);
    for (role, content, place, token) in [
        ("user", json!("a<end>b"), "messages[1].content", "<end>"),
        ("user", part, "messages[1].content", "<END>"),
        ("assistant", json!("<end>"), "messages[1].content", "<end>"),
        ("system<end>", json!("a"), "messages[1].role", "<end>"),
    ] {
        let messages =
            json!([{"role": "user", "content": "abc"}, {"role": role, "content": content}]);
        let body = json!({"messages": messages, "max_tokens": 4}).to_string();
        let reply = plain.post(CHAT, &body);
        let message = reply.json()["error"]["message"].to_string();
        assert_eq!(reply.status, 400, "{message}");
        for word in [place, token, "--allow-special-tokens"] {
            assert!(message.contains(word), "{word} is not in {message}");
        }
        assert_eq!(allowing.post(CHAT, &body).status, 200, "{body}");
    }
    // A prompt of the other endpoint is text for the model, special tokens included.
    let text = json!({"prompt": "a<end>b", "max_tokens": 4}).to_string();
    assert_eq!(plain.post(TEXT, &text).status, 200);
}

#[test]
fn requests_that_cannot_be_met_are_refused_by_name() {
    let client = routed(ServeConfig { max_tokens: 100, ..ServeConfig::default() });
    let with = |more: Value| {
        let mut body = json!({"prompt": [1]});
        for (field, value) in more.as_object().expect("fields") {
            body[field] = value.clone();
        }
        body.to_string()
    };
    for (body, status, field, part) in [
        ("{".to_owned(), 400, json!(null), "not JSON"),
        ("[]".to_owned(), 400, json!(null), "not a JSON object"),
        ("{}".to_owned(), 400, json!("prompt"), "`prompt` is missing"),
        (with(json!({"prompt": []})), 400, json!("prompt"), "0 tokens"),
        (with(json!({"prompt": ""})), 400, json!("prompt"), "0 tokens"),
        (with(json!({"prompt": [16]})), 400, json!("prompt"), "16 is outside the vocabulary of 16"),
        (with(json!({"prompt": [-1]})), 400, json!("prompt"), "[-1]"),
        (with(json!({"prompt": {"a": 1}})), 400, json!("prompt"), "expected a string"),
        (with(json!({"prompt": ["a", "b"]})), 400, json!("prompt"), "several prompts"),
        (
            with(json!({"prompt": vec![1; 5000]})),
            400,
            json!("prompt"),
            "5000 tokens; expected 1 to 4096",
        ),
        (with(json!({"model": "gpt"})), 404, json!("model"), "no model \"gpt\""),
        (with(json!({"model": 4})), 400, json!("model"), "`model` is 4; expected a string"),
        (
            with(json!({"max_tokens": 0})),
            400,
            json!("max_tokens"),
            "is 0; expected a whole number from 1 to 100",
        ),
        (with(json!({"max_tokens": 101})), 400, json!("max_tokens"), "from 1 to 100"),
        (with(json!({"max_tokens": "10"})), 400, json!("max_tokens"), "\"10\""),
        (with(json!({"max_tokens": 1.5})), 400, json!("max_tokens"), "1.5"),
        (
            with(json!({"temperature": 2.5})),
            400,
            json!("temperature"),
            "is 2.5; expected 0 (greedy) to 2",
        ),
        (with(json!({"temperature": -0.1})), 400, json!("temperature"), "is -0.1"),
        (with(json!({"top_p": 0})), 400, json!("top_p"), "is 0; expected a number above 0"),
        (with(json!({"temperature": 1, "top_p": 1.5})), 400, json!("top_p"), "is 1.5"),
        (with(json!({"temperature": "warm"})), 400, json!("temperature"), "expected a number"),
        (with(json!({"seed": "x"})), 400, json!("seed"), "expected a whole number"),
        (
            with(json!({"seed": 1.5})),
            400,
            json!("seed"),
            "is 1.5; expected a whole number from -2^63 to 2^64 - 1",
        ),
        (with(json!({"n": 2})), 400, json!("n"), "at temperature 0"),
        (with(json!({"n": 17})), 400, json!("n"), "from 1 to 16"),
        (
            with(json!({"n": 2, "temperature": 1, "tokenroute": true})),
            400,
            json!("tokenroute"),
            "leave it out, or `n`",
        ),
        (with(json!({"best_of": 3})), 400, json!("best_of"), "must be 1"),
        (with(json!({"echo": true})), 400, json!("echo"), "not supported"),
        (with(json!({"logprobs": 21})), 400, json!("logprobs"), "20"),
        (with(json!({"stop": [""]})), 400, json!("stop"), "none of them empty"),
        (with(json!({"stop": 3})), 400, json!("stop"), "a list of strings"),
        (with(json!({"stream": "yes"})), 400, json!("stream"), "true or false"),
        (
            with(json!({"stream_options": {"include_usage": 1}})),
            400,
            json!("include_usage"),
            "true or false",
        ),
        (with(json!({"tau": 1.5})), 400, json!("tau"), "τ is 1.5"),
        (with(json!({"tau": "half"})), 400, json!("tau"), "expected a number"),
        (with(json!({"max_offload": 2})), 400, json!("max_offload"), "budget is 2"),
        (with(json!({"tokenroute": 1})), 400, json!("tokenroute"), "true or false"),
    ] {
        let reply = client.post(TEXT, &body);
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
        let error = &reply.json()["error"];
        assert_eq!(error["param"], field, "{body}");
        assert!(error["message"].as_str().is_some_and(|m| m.contains(part)), "{body}: {error}");
    }
    for (body, part) in [
        (json!({}), "`messages` is missing"),
        (json!({"messages": []}), "`messages` is empty"),
        (json!({"messages": "hello"}), "expected a list of messages"),
        (json!({"messages": ["hello"]}), "`messages[0]`: `role` is missing"),
        (json!({"messages": [{"role": "user"}]}), "`messages[0]`: `content` is not text"),
        (user(&json!([{"type": "image_url", "image_url": {"url": "x"}}])), "not text"),
    ] {
        let reply = client.post(CHAT, &body.to_string());
        assert_eq!(reply.status, 400, "{body}");
        let error = &reply.json()["error"];
        assert_eq!(error["param"], "messages");
        assert!(error["message"].as_str().is_some_and(|m| m.contains(part)), "{body}: {error}");
    }
    for (field, value) in [
        ("tools", json!([{"type": "function"}])),
        ("top_logprobs", json!(2)),
        ("response_format", json!({"type": "json_object"})),
        ("response_format", json!({"type": "json_schema", "json_schema": {"name": "a"}})),
        ("frequency_penalty", json!(0.5)),
    ] {
        let mut body = user(&json!("abc"));
        body[field] = value;
        let reply = client.post(CHAT, &body.to_string());
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!(field)));
    }
}

#[test]
fn answers_fit_the_context_and_limits_are_kept() {
    let config = ServeConfig { body: 4000, prompt_tokens: 50, ..ServeConfig::default() };
    let client = routed(config);
    let reply = client.post(TEXT, &json!({"prompt": vec![1; 51]}).to_string());
    assert!(reply.text.contains("51 tokens; expected 1 to 50"), "{}", reply.text);
    let reply = client.post(TEXT, &json!({"prompt": "a".repeat(4000)}).to_string());
    assert_eq!((reply.status, &reply.json()["error"]["param"]), (413, &json!(null)));

    // 4096 positions: the last generated token needs none.
    let client = routed(ServeConfig { max_tokens: 5000, ..ServeConfig::default() });
    for (prompt, room) in [(4096, 1), (4090, 7)] {
        let body = json!({"prompt": vec![3; prompt], "max_tokens": room, "tau": 0.5});
        let made = client.answer(TEXT, &body)["usage"]["completion_tokens"].as_u64();
        assert!(made.is_some_and(|made| made >= 1 && made <= room));
        let body = json!({"prompt": vec![3; prompt], "max_tokens": room + 1});
        assert_eq!(client.post(TEXT, &body.to_string()).status, 400);
    }
}

#[test]
fn without_a_template_there_is_no_chat() {
    let bare: ServerPair<ToyModel> = ServerPair { template: None, ..served(pair().0, None) };
    let client = Client::of(&RoutedService::new(bare, None, ServeConfig::default()));
    let reply = client.post(CHAT, &user(&json!("abc")).to_string());
    assert_eq!(reply.status, 400);
    assert!(reply.text.contains("no chat template"), "{}", reply.text);
    assert_eq!(client.get("/v1/models").json()["data"][0]["tokenroute"]["chat"], false);
    assert_eq!(client.answer(TEXT, &json!({"prompt": "abc"}))["object"], "text_completion");
}

#[test]
fn stop_strings_are_few_and_short() {
    let client = routed(forgetful());
    let body = |stop: Value| json!({"prompt": "abc", "max_tokens": 4, "stop": stop}).to_string();
    for (stop, words) in [
        (json!("x".repeat(4097)), "4097 bytes; expected at most 4096"),
        (json!(vec!["y".repeat(300); 16]), "4800 bytes"),
        (json!(vec!["y"; 17]), "17 strings"),
    ] {
        let reply = client.post(TEXT, &body(stop));
        assert_eq!((reply.status, &reply.json()["error"]["param"]), (400, &json!("stop")));
        assert!(reply.text.contains(words), "{}", reply.text);
    }
    assert_eq!(client.post(TEXT, &body(json!(vec!["y".repeat(256); 16]))).status, 200);
}

#[test]
fn what_exceeds_the_context_has_openai_s_code_and_the_limit() {
    let config = ServeConfig { prompt_tokens: 40, max_tokens: 5000, ..forgetful() };
    let client = routed(config);
    let error = |path: &str, body: &Value| {
        let reply = client.post(path, &body.to_string());
        assert_eq!(reply.status, 400, "{}", reply.text);
        reply.json()["error"].clone()
    };
    // The context has 4096 positions; the last token of an answer is not read.
    for (path, body, param, limit) in [
        (TEXT, json!({"prompt": "abc", "max_tokens": 4095}), "max_tokens", "4094"),
        (TEXT, json!({"prompt": vec![0; 41]}), "prompt", "40"),
        // 41 tokens of the longest text, "<end>", have 205 bytes.
        (TEXT, json!({"prompt": "a".repeat(201)}), "prompt", "200"),
        (CHAT, user(&json!("a".repeat(201))), "messages", "200"),
    ] {
        let error = error(path, &body);
        assert_eq!(
            (&error["code"], &error["param"]),
            (&json!("context_length_exceeded"), &json!(param))
        );
        assert!(error["message"].as_str().is_some_and(|text| text.contains(limit)), "{error}");
    }
    // More than the server allows is another matter.
    let error = error(TEXT, &json!({"prompt": "abc", "max_tokens": 5001}));
    assert_eq!(error["code"], Value::Null);
}

#[test]
fn variables_of_the_template_are_passed_on() {
    let source =
        "{% for m in messages %}{{ m.content }}{% endfor %}{% if shout %}d{% endif %}{{ more }}";
    let template =
        ChatTemplate::new(Path::new("toy"), source, BTreeMap::new()).expect("a template");
    let pair = ServerPair { template: Some(template), ..served(pair().0, None) };
    let client = Client::of(&RoutedService::new(pair, None, forgetful()));
    let prompt_tokens = |variables: Value| {
        let mut body = user(&json!("abc"));
        body["chat_template_kwargs"] = variables;
        client.answer(CHAT, &body)["usage"]["prompt_tokens"].clone()
    };
    assert_eq!(prompt_tokens(Value::Null), 3);
    assert_eq!(prompt_tokens(json!({"shout": false})), 3);
    assert_eq!(prompt_tokens(json!({"shout": true})), 4);
    for (variables, words) in [
        (json!([1]), "expected an object"),
        (json!({"messages": []}), "the server sets itself"),
        (json!({"more": "<end>"}), "spells the special token <end>"),
        (json!({"more": ["a", {"<END>": 1}]}), "spells the special token <END>"),
    ] {
        let mut body = user(&json!("abc"));
        body["chat_template_kwargs"] = variables;
        let reply = client.post(CHAT, &body.to_string());
        assert!(reply.status == 400 && reply.text.contains(words), "{}", reply.text);
    }
}

#[test]
fn a_session_at_which_the_model_fails_fails_alone() {
    let broken =
        Client::of(&RoutedService::new(served(pair().0.breaking_at(7), None), None, forgetful()));
    let sound = Client::of(&RoutedService::new(served(pair().0, None), None, forgetful()));
    std::thread::scope(|scope| {
        for i in 0..24_u32 {
            let (broken, sound) = (&broken, &sound);
            scope.spawn(move || {
                let bad = i % 4 == 0;
                let prompt = if bad { vec![i % 5, 7] } else { vec![i % 5, i % 7, 1] };
                let body = json!({"prompt": prompt, "max_tokens": 1}).to_string();
                let (reply, expected) = (broken.post(TEXT, &body), sound.post(TEXT, &body));
                if bad {
                    assert_eq!(reply.status, 500, "{}", reply.text);
                    return;
                }
                assert_eq!(reply.json()["choices"], expected.json()["choices"], "{body}");
            });
        }
    });
}

#[test]
fn a_server_whose_decoding_thread_is_gone_says_so() {
    let panicking = Script::new(|_: &[u32]| panic!("the model breaks"));
    let client = alone(panicking, forgetful());
    assert_eq!(client.get("/health").status, 200);
    for _ in 0..2 {
        let reply = client.post(TEXT, &json!({"prompt": "abc", "max_tokens": 2}).to_string());
        assert!(reply.status == 503 && reply.text.contains("restart"), "{}", reply.text);
    }
    // The thread is unwound a moment after its requests.
    until("the thread's end", || !client.server.is_alive());
    assert_eq!(client.get("/health").status, 503);
}
