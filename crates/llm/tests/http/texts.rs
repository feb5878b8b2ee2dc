//! Servers that take text alone: what each API is sent, what is read of its replies, and the rule
//! for white space at the end of a text. The replies are written by hand from the documentation
//! that `http/text/wire.rs` names.

use serde_json::{Value, json};
use tokenroute_core::{LlmError, Sampling};
use tokenroute_llm::http::{Api, Http, SpendLimit, TextApi, TextServer, TokenPrices};
use tokenroute_llm::{ApiKey, Begun, LlmPrompt, ToyModel, Writer, Written};

use crate::stub::{Said, Stub, config};

fn text_prompt() -> LlmPrompt {
    LlmPrompt::Text("Q: one?\nA:".to_owned())
}

fn chat_prompt() -> LlmPrompt {
    let turns = [("system", "Be brief."), ("user", "one?")];
    LlmPrompt::Chat(turns.map(|(role, content)| (role.to_owned(), content.to_owned())).to_vec())
}

fn prompt(api: TextApi) -> LlmPrompt {
    if api.chats() { chat_prompt() } else { text_prompt() }
}

/// The APIs that go on with a begun answer.
fn going_on() -> impl Iterator<Item = TextApi> {
    TextApi::ALL.into_iter().map(|(_, api)| api).filter(|api| !api.is_whole())
}

/// A reply in an API's shape. `asked` is the text that Mistral repeats.
fn reply(api: TextApi, text: &str, reason: &str, asked: &Value) -> Value {
    let usage = json!({"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 8}});
    let chat = |content: String| {
        let message = json!({"role": "assistant", "content": content});
        json!({"id": "c-1", "object": "chat.completion", "model": "big", "usage": usage,
            "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": null}]})
    };
    match api {
        TextApi::Completions => json!({"id": "c-1", "object": "text_completion", "model": "big",
            "choices": [{"index": 0, "text": text, "finish_reason": reason, "logprobs": null}],
            "usage": usage}),
        TextApi::ChatContinue | TextApi::DeepSeek | TextApi::Chat => chat(text.to_owned()),
        TextApi::Mistral | TextApi::LlamaCppChat => {
            let last = asked["messages"].as_array().and_then(|all| all.last());
            let begun = last.filter(|last| last["role"] == "assistant");
            let begun = begun.and_then(|last| last["content"].as_str()).unwrap_or_default();
            chat(format!("{begun}{text}"))
        }
        TextApi::Ollama => json!({"model": "big", "created_at": "2025-01-01T00:00:00Z",
            "response": text, "done": true, "done_reason": reason, "prompt_eval_count": 4,
            "eval_count": 3, "total_duration": 5}),
    }
}

fn server(stub: &Stub, api: TextApi) -> TextServer {
    let mut config = config(&stub.url);
    config.text = Some(api);
    config.model = Some("big".to_owned());
    let http = Http::new(config, ToyModel::vocabulary(), None).expect("a good URL");
    TextServer::new(http, api)
}

fn write(server: &TextServer, prompt: &LlmPrompt, text: &str) -> Result<Written, LlmError> {
    let begun = Begun { prompt, text, sampling: None };
    server.write(&[begun], &|written: &str| written.len() >= 4).remove(0)
}

#[test]
fn each_api_is_sent_the_begun_answer_in_its_own_form() {
    for api in going_on() {
        let stub = Stub::start(move |_, asked| {
            Said::ok(&reply(api, " apples", "length", &asked.body).to_string())
        });
        let server = server(&stub, api);
        let written = write(&server, &prompt(api), "Two").expect("a text");
        assert_eq!((written.text.as_str(), written.ended), (" apples", false), "{api}");
        assert_eq!((written.requests, written.positions), (1, 6), "{api}: 4 read, 3 made");
        assert!(written.bytes.up > 0 && written.bytes.down > 0 && !written.respelled, "{api}");
        write(&server, &prompt(api), "").expect("a text");
        let [begun, first] = &stub.requests()[..] else { panic!("{api}: two requests") };
        let path = match api {
            TextApi::Completions => "/v1/completions",
            TextApi::ChatContinue | TextApi::LlamaCppChat | TextApi::Mistral | TextApi::Chat => {
                "/v1/chat/completions"
            }
            TextApi::DeepSeek => "/chat/completions",
            TextApi::Ollama => "/api/generate",
        };
        assert_eq!(begun.line, format!("POST {path} HTTP/1.1"));
        let (begun, first) = (&begun.body, &first.body);
        assert_eq!(begun["model"], "big");
        if !api.chats() {
            assert_eq!(begun["prompt"], "Q: one?\nA:Two", "{api}");
            assert_eq!(first["prompt"], "Q: one?\nA:", "{api}");
            let options = if api == TextApi::Ollama { &begun["options"] } else { begun };
            assert_eq!(options["temperature"], 0.0, "{api}");
            continue;
        }
        assert_eq!(begun["temperature"], 0.0, "{api}");
        let last = &begun["messages"][2];
        assert_eq!((&last["role"], &last["content"]), (&json!("assistant"), &json!("Two")));
        assert_eq!(first["messages"].as_array().map(Vec::len), Some(2), "{api}: nothing is begun");
        let continues = begun.get("continue_final_message") == Some(&json!(true));
        let prompted = begun.get("add_generation_prompt");
        match api {
            TextApi::ChatContinue | TextApi::LlamaCppChat => {
                assert!(
                    continues && prompted == Some(&json!(false)) && last.get("prefix").is_none()
                );
                assert!(first.get("continue_final_message").is_none());
            }
            _ => assert!(!continues && prompted.is_none() && last["prefix"] == true, "{api}"),
        }
    }
}

#[test]
fn white_space_at_the_end_is_held_back_and_the_reply_must_begin_with_it() {
    let sent = |body: &Value| {
        body["prompt"].as_str().unwrap_or_default()["Q: one?\nA:".len()..].to_owned()
    };
    // What the server says after "Two", and after "Two " itself.
    for (held, whole, text, requests, respelled) in [
        (" apples", "never", "apples", 1, true),
        ("\n\nTherefore", "pears", "pears", 3, false),
        (" ", "pears", "pears", 4, false),
    ] {
        let stub = Stub::start(move |_, asked| {
            let said = if sent(&asked.body).ends_with(' ') { whole } else { held };
            Said::ok(&reply(TextApi::Completions, said, "length", &asked.body).to_string())
        });
        let server = server(&stub, TextApi::Completions);
        let written = write(&server, &text_prompt(), "Two ").expect("a text");
        assert_eq!((written.text.as_str(), written.respelled), (text, respelled), "{held:?}");
        assert!(written.requests <= requests, "{held:?}: {}", written.requests);
        assert_eq!(sent(&stub.requests()[0].body), "Two");
    }
    // The answer may end with the white space that was held back.
    let stub = Stub::start(move |_, asked| {
        Said::ok(&reply(TextApi::Completions, "\n", "stop", &asked.body).to_string())
    });
    let written = write(&server(&stub, TextApi::Completions), &text_prompt(), "Two\n");
    let written = written.expect("an end");
    assert_eq!((written.text.as_str(), written.ended), ("", true));
}

#[test]
fn a_few_tokens_are_asked_for_and_more_if_they_do_not_suffice() {
    let stub = Stub::start(|_, asked| {
        let tokens = asked.body["max_tokens"].as_u64().expect("a count");
        let text = if tokens < 10 { "a\u{fffd}" } else { "a\u{e9}bcd" };
        Said::ok(&reply(TextApi::Completions, text, "length", &asked.body).to_string())
    });
    let written = write(&server(&stub, TextApi::Completions), &text_prompt(), "").expect("a text");
    assert_eq!((written.text.as_str(), written.requests), ("a\u{e9}bcd", 2));
}

#[test]
fn drawn_tokens_have_their_temperature_and_a_seed() {
    for api in going_on() {
        let stub = Stub::start(move |_, asked| {
            Said::ok(&reply(api, " apples", "stop", &asked.body).to_string())
        });
        let sampling = Sampling::new(0.7, 0.9, 5).expect("a sampling");
        let prompt = prompt(api);
        let begun = Begun { prompt: &prompt, text: "Two", sampling };
        server(&stub, api).write(&[begun], &|_: &str| true).remove(0).expect("a text");
        let body = &stub.requests()[0].body;
        let fields = if api == TextApi::Ollama { &body["options"] } else { body };
        assert_eq!((&fields["temperature"], &fields["top_p"]), (&json!(0.7), &json!(0.9)), "{api}");
        let seed = if api == TextApi::Mistral { "random_seed" } else { "seed" };
        assert!(fields[seed].is_u64(), "{api}");
    }
}

#[test]
fn replies_that_do_not_go_on_with_the_text_are_refused() {
    use TextApi::{Chat, ChatContinue, Completions, LlamaCppChat, Mistral, Ollama};
    for (api, at, value, part) in [
        (Completions, "/choices", json!([]), "0 choices"),
        (Completions, "/choices/0/text", Value::Null, "without text"),
        (Completions, "/choices/0/finish_reason", json!("content_filter"), "content_filter"),
        (Completions, "/choices/0/finish_reason", Value::Null, "none"),
        (Completions, "/usage", json!("many"), "JSON"),
        (Completions, "/usage/prompt_tokens", json!(u64::MAX), "a count of 18446744073709551615"),
        (Completions, "/usage/completion_tokens", json!(u64::MAX), "expected at most 4294967296"),
        (ChatContinue, "/choices/0/message", Value::Null, "without text"),
        (ChatContinue, "/choices/0/finish_reason", json!("tool_calls"), "tool_calls"),
        (LlamaCppChat, "/choices/0/message/content", json!(" apples"), "does not begin"),
        (Mistral, "/choices/0/message/content", json!(" apples"), "does not begin with the prefix"),
        (Ollama, "/response", json!(7), "JSON"),
        (Ollama, "/done_reason", json!("load"), "load"),
        (Ollama, "/eval_count", json!(u64::MAX), "expected at most 4294967296"),
    ] {
        let stub = Stub::start(move |_, asked| {
            let mut reply = reply(api, " apples", "length", &asked.body);
            *reply.pointer_mut(at).expect("in the reply") = value.clone();
            Said::ok(&reply.to_string())
        });
        let error = write(&server(&stub, api), &prompt(api), "Two").expect_err("a refusal");
        assert!(matches!(error, LlmError::BadReply(_)), "{api} {at}: {error:?}");
        assert!(error.to_string().contains(part), "{api} {at}: {error}");
    }
    for (api, prompt, part) in [
        (Completions, chat_prompt(), "takes prompts of text"),
        (ChatContinue, text_prompt(), "takes chats"),
        (Ollama, LlmPrompt::Tokens(vec![1]), "takes prompts of text"),
        (Chat, chat_prompt(), "--handoff"),
    ] {
        let stub = Stub::start(|_, _| Said::status(500, "never asked"));
        let error = write(&server(&stub, api), &prompt, "Two").expect_err("a refusal");
        assert!(matches!(&error, LlmError::Refused(text) if text.contains(part)), "{error:?}");
        assert!(stub.requests().is_empty());
    }
}

#[test]
fn a_busy_server_is_asked_again_and_no_error_shows_the_key() {
    let key = ApiKey::new("sesame-0123456789").expect("a key");
    let stub = Stub::start(|number, asked| match number {
        0 => Said { headers: "retry-after: 0\r\n", ..Said::status(429, "slow down") },
        1 => Said::ok(&reply(TextApi::DeepSeek, " apples", "stop", &asked.body).to_string()),
        _ => Said::status(401, "sesame-0123456789 is no key"),
    });
    let mut config = config(&stub.url);
    (config.text, config.model) = (Some(TextApi::DeepSeek), Some("big".to_owned()));
    config.key = Some(key);
    let http = Http::new(config, ToyModel::vocabulary(), None).expect("a good URL");
    let server = TextServer::new(http, TextApi::DeepSeek);
    assert_eq!(write(&server, &chat_prompt(), "Two").expect("a text").text, " apples");
    let headers = stub.requests()[0].headers.to_lowercase();
    assert!(headers.contains("authorization: bearer sesame-0123456789"), "{headers}");
    let error = write(&server, &chat_prompt(), "Two").expect_err("a refusal");
    let shown = format!("{error} {error:?} {server:?}");
    assert!(shown.contains("401") && !shown.contains("sesame"), "{shown}");
}

#[test]
fn a_server_names_its_model_and_may_have_any_tokenizer() {
    let list =
        json!({"data": [{"id": "huge", "owned_by": "tokenroute", "tokenizer_hash": "other"}]});
    let stub = Stub::start(move |number, asked| match number {
        0 => Said::ok(&list.to_string()),
        _ => Said::ok(&reply(TextApi::Completions, " apples", "stop", &asked.body).to_string()),
    });
    let mut config = config(&stub.url);
    config.speak("text").expect("an API");
    assert_eq!(config.text, Some(TextApi::Completions));
    let http = Http::new(config, ToyModel::vocabulary(), None).expect("a good URL");
    let server = TextServer::new(http, TextApi::Completions);
    assert_eq!(write(&server, &text_prompt(), "Two").expect("a text").text, " apples");
    assert_eq!(stub.requests()[1].body["model"], "huge");
    let mut config = crate::stub::config(&stub.url);
    let error = config.speak("gguf").expect_err("no API").to_string();
    assert!(error.contains("llama-cpp") && error.contains("chat-continue"), "{error}");
}

/// A client with prices of 1 for a token sent, 0.5 for a cached one and 2 for one received.
fn priced(stub: &Stub, most: f64) -> TextServer {
    let mut config = config(&stub.url);
    config.text = Some(TextApi::Completions);
    config.model = Some("big".to_owned());
    config.attempts = 1;
    let prices = TokenPrices { input: 1e6, cached_input: 5e5, output: 2e6 };
    config.spend = Some(SpendLimit { prices, most });
    let http = Http::new(config, ToyModel::vocabulary(), None).expect("a good URL");
    TextServer::new(http, TextApi::Completions)
}

#[test]
fn spending_is_counted_to_the_last_token_and_capped_before_it_is_due() {
    // A request's worst case: 13 bytes, 1024 tokens of a template, 8 tokens received.
    let worst = 13.0 + 1024.0 + 2.0 * 8.0;
    // One costs 4 + 8 / 2 + 3 * 2 = 14 by the server's count.
    for (most, served) in [(worst - 1.0, 0), (worst, 1), (worst + 13.0, 1), (worst + 14.0, 2)] {
        let stub = Stub::start(|_, asked| {
            Said::ok(&reply(TextApi::Completions, " apples", "stop", &asked.body).to_string())
        });
        let server = priced(&stub, most);
        let mut answered = 0;
        for _ in 0..3 {
            match write(&server, &text_prompt(), "Two") {
                Ok(_) => answered += 1,
                Err(error) => {
                    assert!(
                        matches!(&error, LlmError::Refused(text) if text.contains("limit of spending"))
                    );
                }
            }
        }
        let bill = server.http().bill().expect("a bill");
        assert_eq!((answered, stub.requests().len()), (served, served), "{most}");
        assert_eq!(bill.spent(), 14.0 * served as f64);
        assert_eq!(
            (bill.input, bill.cached_input, bill.output),
            (12 * served as u64, 8 * served as u64, 3 * served as u64)
        );
    }
}

#[test]
fn whatever_a_server_does_the_cap_holds() {
    let worst = 13.0 + 1024.0 + 2.0 * 8.0;
    let good = |asked: &Value| reply(TextApi::Completions, " apples", "stop", asked);
    let fault = move |kind: usize, asked: &Value| -> Said {
        let mut unbilled = good(asked);
        unbilled["usage"] = Value::Null;
        match kind {
            0 => Said::status(401, "no"),
            1 => Said::status(429, "busy"),
            2 => Said::status(503, "down"),
            3 => Said::ok("{\"choices\": []}"),
            4 => Said::ok(&unbilled.to_string()),
            _ => Said {
                after: std::time::Duration::from_millis(500),
                ..Said::ok(&good(asked).to_string())
            },
        }
    };
    // Refusals are free. A reply that never comes, fails or has no count is charged in full.
    for (kind, each) in [(0, 0.0), (1, 0.0), (2, worst), (3, worst), (4, worst), (5, worst)] {
        let most = 2.5 * worst;
        let stub = Stub::start(move |_, asked| fault(kind, &asked.body));
        let server = priced(&stub, most);
        for _ in 0..2 {
            drop(write(&server, &text_prompt(), "Two"));
        }
        let spent = server.http().bill().expect("a bill").spent();
        assert_eq!(spent, 2.0 * each, "fault {kind}");
        drop(write(&server, &text_prompt(), "Two"));
        assert!(server.http().bill().expect("a bill").spent() <= most, "fault {kind}");
    }
    // A server that is away costs nothing.
    let mut config = config("http://127.0.0.1:1");
    (config.text, config.model) = (Some(TextApi::Completions), Some("big".to_owned()));
    let prices = TokenPrices { input: 1.0, cached_input: 1.0, output: 1.0 };
    config.spend = Some(SpendLimit { prices, most: 1.0 });
    let away = Http::new(config.clone(), ToyModel::vocabulary(), None).expect("a good URL");
    let away = TextServer::new(away, TextApi::Completions);
    write(&away, &text_prompt(), "Two").expect_err("nobody there");
    assert_eq!(away.http().bill().expect("a bill").spent(), 0.0);
    for prices in [f64::NAN, -1.0] {
        config.spend = Some(SpendLimit {
            prices: TokenPrices {
                input: prices,
                ..TokenPrices { input: 0.0, cached_input: 0.0, output: 0.0 }
            },
            most: 1.0,
        });
        let error = Http::new(config.clone(), ToyModel::vocabulary(), None).expect_err("no money");
        assert!(error.to_string().contains("price of input"), "{error}");
    }
    (config.text, config.api) = (None, Some(Api::OpenAi));
    let error = Http::new(config, ToyModel::vocabulary(), None).expect_err("no API of text");
    assert!(error.to_string().contains("needs an API of text"), "{error}");
}
