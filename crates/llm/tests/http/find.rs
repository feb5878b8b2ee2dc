//! What a server takes is found out where its API is not named. The servers are scripted: they
//! count, and refuse what their documentation says that they refuse (`http/text/wire.rs`).

use serde_json::{Value, json};
use tokenroute_core::LlmError;
use tokenroute_llm::ToyModel;
use tokenroute_llm::http::{
    Api, Http, HttpConfig, HttpError, PROBE, SpendLimit, Takes, TextApi, TokenPrices,
};

use crate::stub::{Asked, Said, Stub, config};

const COUNTED: &str = "One, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve";

/// The probe in tokens of the pair.
const IDS: [u32; 3] = [5, 6, 7];

/// What a server does with a request besides listing its models.
type Serves = fn(&str, &Value) -> Result<String, u16>;

/// Owner and tokenizer that a server lists, what it does, the end of its URL, what is found, and the
/// number of requests.
type Case = (&'static str, Option<&'static str>, Serves, &'static str, &'static str, usize);

/// Three more words after a text that counts.
fn goes_on(text: &str) -> String {
    let rest = COUNTED.strip_prefix(text).unwrap_or("I cannot help with that");
    let end = rest.match_indices(' ').nth(3).map_or(rest.len(), |(at, _)| at);
    rest[..end].to_owned()
}

fn completions(body: &Value, ids: &str) -> Result<String, u16> {
    match &body["prompt"] {
        Value::String(text) => Ok(goes_on(text)),
        prompt if *prompt == json!(IDS) => Ok(ids.to_owned()),
        _ => Err(400),
    }
}

/// The messages' begun answer, if the last one is the assistant's.
fn begun(body: &Value) -> Option<&str> {
    let last = body["messages"].as_array()?.last()?;
    (last["role"] == "assistant").then(|| last["content"].as_str())?
}

/// A chat that goes on with a begun answer if the request has a mark of its API.
fn chats(body: &Value, marked: bool, repeats: bool) -> String {
    match begun(body) {
        Some(text) if marked && repeats => format!("{text}{}", goes_on(text)),
        Some(text) if marked => goes_on(text),
        _ => goes_on("").to_owned(),
    }
}

fn flagged(body: &Value) -> bool {
    body["continue_final_message"] == true && body["add_generation_prompt"] == false
}

fn prefixed(body: &Value) -> bool {
    body["messages"].as_array().is_some_and(|all| all.iter().any(|m| m["prefix"] == true))
}

/// vLLM, SGLang and llama.cpp with the pair's tokenizer.
fn same_tokens(path: &str, body: &Value) -> Result<String, u16> {
    if path == "/v1/completions" { completions(body, &goes_on(PROBE)) } else { Err(404) }
}

/// vLLM with another tokenizer.
fn other_tokens(path: &str, body: &Value) -> Result<String, u16> {
    match path {
        "/v1/completions" => completions(body, " of the the"),
        "/v1/chat/completions" => Ok(chats(body, flagged(body), false)),
        _ => Err(404),
    }
}

/// llama.cpp's server with another tokenizer. Its chats repeat the begun message.
fn llama_cpp(path: &str, body: &Value) -> Result<String, u16> {
    match path {
        "/v1/completions" => completions(body, " of the the"),
        "/v1/chat/completions" => Ok(chats(body, true, true)),
        _ => Err(404),
    }
}

/// A server of text that takes no ids and has no chats.
fn text_alone(path: &str, body: &Value) -> Result<String, u16> {
    match path {
        "/v1/completions" if body["prompt"].is_string() => completions(body, ""),
        _ => Err(404),
    }
}

/// Ollama: its completions apply the chat template, and so do its chats.
fn ollama(path: &str, body: &Value) -> Result<String, u16> {
    match path {
        "/api/generate" => Ok(goes_on(body["prompt"].as_str().unwrap_or_default())),
        "/v1/completions" | "/v1/chat/completions" => Ok(goes_on("")),
        _ => Err(404),
    }
}

/// Mistral: it has no completions, and refuses fields that it does not know.
fn mistral(path: &str, body: &Value) -> Result<String, u16> {
    match path {
        "/v1/chat/completions" if body.get("continue_final_message").is_some() => Err(422),
        "/v1/chat/completions" => Ok(chats(body, prefixed(body), true)),
        _ => Err(404),
    }
}

/// DeepSeek's beta URL.
fn deepseek(path: &str, body: &Value) -> Result<String, u16> {
    match path {
        "/beta/chat/completions" => Ok(chats(body, prefixed(body), false)),
        _ => Err(404),
    }
}

/// A hosted chat that refuses what it does not know.
fn strict_chat(path: &str, body: &Value) -> Result<String, u16> {
    match path {
        "/v1/chat/completions" if flagged(body) || prefixed(body) => Err(400),
        "/v1/chat/completions" => Ok(goes_on("")),
        _ => Err(404),
    }
}

/// A proxy that drops what it does not know, and makes a message of a prompt.
fn lenient_chat(path: &str, _: &Value) -> Result<String, u16> {
    match path {
        "/v1/chat/completions" | "/v1/completions" => Ok(goes_on("")),
        _ => Err(404),
    }
}

fn path_of(asked: &Asked) -> String {
    asked.line.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn server(owner: &'static str, hash: Option<&'static str>, serves: Serves) -> Stub {
    Stub::start(move |_, asked| {
        let path = path_of(asked);
        if path.ends_with("/v1/models") {
            let model = json!({"id": "big", "owned_by": owner, "tokenizer_hash": hash});
            return Said::ok(&json!({"data": [model]}).to_string());
        }
        match serves(&path, &asked.body) {
            Err(status) => Said::status(status, "not here"),
            Ok(text) if path == "/api/generate" => {
                Said::ok(&json!({"response": text, "done_reason": "length"}).to_string())
            }
            Ok(text) => {
                let message = json!({"role": "assistant", "content": text});
                let choice = json!({"text": text, "message": message, "finish_reason": "length"});
                let usage = json!({"prompt_tokens": 12, "completion_tokens": 3});
                Said::ok(&json!({"choices": [choice], "usage": usage}).to_string())
            }
        }
    })
}

fn client(config: HttpConfig) -> Http {
    Http::new(config, ToyModel::vocabulary(), None).expect("a good URL")
}

#[test]
fn each_kind_of_server_is_found() {
    let ours = ToyModel::vocabulary().hash().to_owned();
    let ours: &'static str = Box::leak(ours.into_boxed_str());
    let whole = "chats alone, and answers them whole (API chat)";
    let cases: [Case; 14] = [
        ("tokenroute", Some(ours), same_tokens, "", "token ids (API tokenroute)", 1),
        ("tokenroute", Some("other"), same_tokens, "", "text alone (API text)", 1),
        ("vllm", None, same_tokens, "", "token ids (API vllm)", 3),
        ("sglang", None, same_tokens, "", "token ids (API sglang)", 3),
        ("llamacpp", None, same_tokens, "", "token ids (API llama-cpp)", 3),
        ("someone", None, same_tokens, "", "token ids (API openai)", 4),
        ("vllm", None, other_tokens, "", "text alone (API text and chat-continue)", 6),
        ("llamacpp", None, llama_cpp, "", "text alone (API text and llama-cpp-chat)", 7),
        ("someone", None, text_alone, "", "text alone (API text)", 6),
        ("library", None, ollama, "", "text alone (API ollama)", 8),
        ("mistralai", None, mistral, "", "text alone (API mistral)", 7),
        ("deepseek", None, deepseek, "/beta", "text alone (API deepseek)", 6),
        ("someone", None, strict_chat, "", whole, 8),
        ("someone", None, lenient_chat, "", whole, 9),
    ];
    for (owner, hash, serves, base, takes, requests) in cases {
        let stub = server(owner, hash, serves);
        let http = client(config(&format!("{}{base}", stub.url)));
        let found = http.find(&IDS).expect(takes);
        let line = format!("the LLM big at {}{base} takes {takes}", stub.url);
        assert_eq!(found.to_string(), line);
        assert_eq!(stub.requests().len(), requests, "{takes}: {:?}", stub.requests());
        assert_eq!(http.server().expect("known").model, "big");
        assert_eq!(stub.requests().len(), requests, "it is asked no more");
    }
}

#[test]
fn an_owner_with_an_api_of_its_own_is_believed_where_nothing_can_be_compared() {
    let stub = server("sglang", None, |_, _| Err(404));
    let found = client(config(&stub.url)).find(&IDS).expect("ids");
    assert_eq!(found.takes, Takes::Ids(Api::Sglang));
    // So it is where it lists its models and then hangs.
    let stub = Stub::start(|number, _| Said {
        after: std::time::Duration::from_millis(if number == 0 { 0 } else { 1000 }),
        ..Said::ok(&json!({"data": [{"id": "big", "owned_by": "vllm"}]}).to_string())
    });
    let found = client(config(&stub.url)).find(&IDS).expect("ids");
    assert_eq!(found.takes, Takes::Ids(Api::Vllm));
}

#[test]
fn a_server_that_goes_on_with_nothing_is_refused_with_the_flag_to_set() {
    let stub = server("someone", None, |_, _| Err(404));
    let error = client(config(&stub.url)).find(&IDS).expect_err("nothing");
    assert!(matches!(error, HttpError::NotFound { .. }), "{error:?}");
    let error = error.to_string();
    assert!(error.contains("--llm-api") && error.contains("404"), "{error}");
    assert!(!error.contains('\n'), "one line: {error}");
    // A server without a list of models.
    let stub = Stub::start(|_, _| Said::status(404, "no such page"));
    let error = client(config(&stub.url)).find(&IDS).expect_err("nothing").to_string();
    assert!(error.contains("404") && error.contains("--llm-api"), "{error}");
    // One that lists its models and then hangs.
    let stub = Stub::start(|number, _| Said {
        after: std::time::Duration::from_millis(if number == 0 { 0 } else { 1000 }),
        ..Said::ok(&json!({"data": [{"id": "big", "owned_by": "someone"}]}).to_string())
    });
    let error = client(config(&stub.url)).find(&IDS).expect_err("late").to_string();
    assert!(error.contains("late") && error.contains("--llm-api"), "{error}");
    // One that is away may come back.
    let error = client(config("http://127.0.0.1:1")).find(&IDS).expect_err("away");
    assert!(matches!(error, HttpError::Llm(LlmError::Unavailable(_))), "{error:?}");
}

#[test]
fn a_busy_server_is_waited_for() {
    let text = server("someone", None, text_alone);
    let list = json!({"data": [{"id": "big", "owned_by": "someone"}]}).to_string();
    let busy = Stub::start(move |number, asked| match number {
        0 => Said::ok(&list),
        1 => Said { headers: "retry-after: 0\r\n", ..Said::status(429, "slow down") },
        _ => match text_alone(&path_of(asked), &asked.body) {
            Err(status) => Said::status(status, "not here"),
            Ok(text) => Said::ok(
                &json!({"choices": [{"text": text, "finish_reason": "length"}]}).to_string(),
            ),
        },
    });
    let found = |stub: &Stub| client(config(&stub.url)).find(&IDS).expect("text").takes;
    assert_eq!(found(&busy), found(&text));
    assert_eq!(found(&text), Takes::Text(TextApi::Completions.into()));
}

#[test]
fn probes_are_paid_from_the_limit_of_spending() {
    let stub = server("vllm", None, same_tokens);
    let limited = |most: f64| {
        let mut config = config(&stub.url);
        let prices = TokenPrices { input: 1e6, cached_input: 1e6, output: 1e6 };
        config.spend = Some(SpendLimit { prices, most });
        client(config)
    };
    // Token ids have no limit, so that text is asked for alone: twice, at 12 + 3 each.
    let http = limited(1e6);
    let found = http.find(&IDS).expect("text");
    assert_eq!(found.takes, Takes::Text(TextApi::Completions.into()));
    assert!(stub.requests().iter().all(|asked| asked.body["prompt"] != json!(IDS)));
    assert_eq!(http.bill().expect("a bill").spent(), 30.0);
    let error = limited(1.0).find(&IDS).expect_err("too little").to_string();
    assert!(error.contains("raise the limit of spending"), "{error}");
    let ask = tokenroute_core::Ask::next(&IDS, None);
    let refused = tokenroute_core::Llm::ask(&http, &[ask]).remove(0).expect_err("no ids");
    assert!(refused.to_string().contains("needs an API of text"), "{refused}");
}
