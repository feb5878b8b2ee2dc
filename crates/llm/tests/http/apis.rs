//! Requests and replies of each API, and refused replies. The replies follow the servers'
//! sources and documentation (`tests/fixtures`).

use serde_json::{Value, json};
use tokenroute_core::{Ask, Llm, LlmError, Reply, TokenId};
use tokenroute_llm::ToyModel;
use tokenroute_llm::http::{Api, Http, HttpError, Spelling};

use crate::stub::{Asked, Said, Stub, config};

pub const CONTEXT: [TokenId; 4] = [3, 4, 5, 6];

pub fn fixture(api: Api) -> Value {
    let text = match api {
        Api::Tokenroute | Api::Vllm => include_str!("../fixtures/vllm.json"),
        Api::Sglang => include_str!("../fixtures/sglang.json"),
        Api::LlamaCpp => include_str!("../fixtures/llama_cpp.json"),
        Api::OpenAi => include_str!("../fixtures/openai.json"),
    };
    serde_json::from_str(text).expect("JSON")
}

/// The reply of a server to this request, with the repeated fields.
pub fn repeating(api: Api, mut reply: Value, asked: &Asked) -> Value {
    let asked = &asked.body;
    match api {
        Api::Sglang => reply["meta_info"]["id"] = asked["rid"].clone(),
        Api::LlamaCpp => reply["generation_settings"]["seed"] = asked["seed"].clone(),
        Api::Tokenroute | Api::Vllm => {
            reply["choices"][0]["prompt_token_ids"] = asked["prompt"].clone();
        }
        Api::OpenAi => {}
    }
    reply
}

/// A server with this reply for every request.
pub fn replying(api: Api, reply: Value) -> Stub {
    Stub::start(move |_, asked| Said::ok(&repeating(api, reply.clone(), asked).to_string()))
}

/// Texts of the toys' tokens: 9 is " apple", 7 and 8 have the same text, 5 is part of a
/// character.
fn spelling() -> Spelling {
    let text = |id| match id {
        9 => " apple".to_owned(),
        7 | 8 => "twin".to_owned(),
        5 => "\u{FFFD}".to_owned(),
        _ => format!("t{id}"),
    };
    Spelling::new((0..16).map(text))
}

pub fn client(stub: &Stub, api: Api) -> Http {
    let mut config = config(&stub.url);
    config.api = Some(api);
    config.model = Some("m".to_owned());
    config.attempts = 1;
    Http::new(config, ToyModel::vocabulary(), Some(spelling())).expect("a good URL")
}

fn ask(llm: &Http, from: usize) -> Result<Reply, LlmError> {
    llm.ask(&[Ask::greedy(&CONTEXT, from)]).remove(0)
}

#[test]
fn a_token_is_asked_for_by_ids_and_comes_back_as_one() {
    for (api, path, positions) in [
        (Api::Tokenroute, "/v1/completions", 3),
        (Api::Vllm, "/v1/completions", 3),
        (Api::Sglang, "/generate", 3),
        (Api::LlamaCpp, "/completion", 1),
        (Api::OpenAi, "/v1/completions", 4),
    ] {
        let mut reply = fixture(api);
        if api == Api::Sglang {
            reply["meta_info"]["input_token_logprobs"] = json!([[null, 6, null]]);
            reply["meta_info"]["input_top_logprobs"] = json!([null]);
        }
        let stub = replying(api, reply);
        let answer = ask(&client(&stub, api), 4).expect("an answer");
        assert_eq!((answer.tokens, answer.positions), (vec![9], positions), "{api}");
        let asked = stub.requests().remove(0);
        assert_eq!(asked.line, format!("POST {path} HTTP/1.1"));
        let ids = asked.body.get("prompt").or_else(|| asked.body.get("input_ids"));
        assert_eq!(ids, Some(&json!(CONTEXT)), "{api}: ids, never text");
        let penalty =
            ["/repetition_penalty", "/repeat_penalty", "/sampling_params/repetition_penalty"]
                .into_iter()
                .find_map(|field| asked.body.pointer(field));
        if matches!(api, Api::Vllm | Api::Sglang | Api::LlamaCpp) {
            assert_eq!(penalty, Some(&json!(1.0)), "{api}: the checkpoint's own is switched off");
        }
    }
}

#[test]
fn many_positions_are_scored_in_one_request_where_the_server_can() {
    for (api, from, tokens) in [
        (Api::Vllm, 1, vec![7, 5, 2, 9]),
        (Api::Vllm, 3, vec![2, 9]),
        (Api::Tokenroute, 2, vec![5, 2, 9]),
        (Api::Sglang, 2, vec![5, 2, 9]),
    ] {
        let stub = replying(api, fixture(api));
        assert_eq!(ask(&client(&stub, api), from).expect("an answer").tokens, tokens, "{api}");
        let asked = stub.requests();
        assert_eq!(asked.len(), 1);
        let start = asked[0].body.get("logprob_start_len").and_then(Value::as_u64);
        assert_eq!(start, (api == Api::Sglang).then_some(1));
        let scored = asked[0].body.get("prompt_logprobs").and_then(Value::as_u64);
        assert_eq!(scored, (api != Api::Sglang).then_some(1));
    }
    // llama.cpp answers one position at a time.
    let stub = Stub::start(|_, asked| {
        let tokens = asked.body["prompt"].as_array().map_or(0, Vec::len);
        let mut reply = fixture(Api::LlamaCpp);
        reply["tokens_evaluated"] = json!(tokens);
        reply["tokens"] = json!([tokens]);
        Said::ok(&repeating(Api::LlamaCpp, reply, asked).to_string())
    });
    let answer = ask(&client(&stub, Api::LlamaCpp), 2).expect("an answer");
    assert_eq!((answer.tokens, answer.positions), (vec![2, 3, 4], 3));
}

#[test]
fn probabilities_are_read_by_token_id() {
    let mut reply = fixture(Api::Vllm);
    reply["choices"][0]["prompt_logprobs"] = json!([
        null,
        {"4": {"logprob": -0.1, "rank": 1}},
        {"9": {"logprob": -1.0, "rank": 2}, "7": {"logprob": -0.5, "rank": 1},
         "5": {"logprob": -9.0, "rank": 12}},
        {"2": {"logprob": 0.0, "rank": 1}, "6": {"logprob": -8.0, "rank": 2}},
    ]);
    reply["choices"][0]["logprobs"] = json!({
        "tokens": ["token_id:9"],
        "top_logprobs": [{"token_id:3": -2.0, "token_id:9": -0.25}],
    });
    let stub = replying(Api::Vllm, reply.clone());
    let said = client(&stub, Api::Vllm).ask(&[Ask::greedy(&CONTEXT, 2).with_top(2)]).remove(0);
    let said = said.expect("an answer");
    assert_eq!(said.tokens, [7, 2, 9]);
    let p = |logprob: f64| logprob.exp() as f32;
    assert_eq!(said.top[0][..], [(7, p(-0.5)), (9, p(-1.0))]);
    assert_eq!(said.top[1][..], [(2, 1.0), (6, p(-8.0))]);
    assert_eq!(said.top[2][..], [(9, p(-0.25)), (3, p(-2.0))]);
    let body = stub.requests().remove(0).body;
    assert_eq!((&body["logprobs"], &body["prompt_logprobs"]), (&json!(2), &json!(2)));

    // Texts in the place of ids, and none at all.
    for (tops, named) in
        [(json!([{" apple": -0.25}]), "without token ids"), (json!(null), "no top_")]
    {
        reply["choices"][0]["logprobs"]["top_logprobs"] = tops;
        let stub = replying(Api::Vllm, reply.clone());
        let ask = [Ask::greedy(&CONTEXT, 4).with_top(2)];
        let error = client(&stub, Api::Vllm).ask(&ask).remove(0).expect_err("no ids");
        assert!(error.to_string().contains(named), "{error}");
    }
    for api in [Api::Sglang, Api::LlamaCpp, Api::OpenAi] {
        let stub = replying(api, fixture(api));
        let ask = [Ask::greedy(&CONTEXT, 4).with_top(2)];
        let error = client(&stub, api).ask(&ask).remove(0).expect_err("it gives none");
        assert!(error.to_string().contains("gives no log-probabilities"), "{error}");
        assert!(stub.requests().is_empty(), "{api}: refused before it is asked");
    }
}

#[test]
fn a_relay_is_one_request_where_the_reply_has_ids() {
    for (api, ids, changes, tokens, positions) in [
        (Api::Vllm, "/choices/0/token_ids", None, vec![9, 2, 3], 5),
        (
            Api::Tokenroute,
            "/choices/0/token_ids",
            Some(("/choices/0/finish_reason", json!("stop"))),
            vec![9, 2, 3, 14],
            6,
        ),
        (Api::Sglang, "/output_ids", None, vec![9, 2, 3], 5),
        (Api::LlamaCpp, "/tokens", Some(("/stop_type", json!("eos"))), vec![9, 2, 3, 14], 4),
    ] {
        let mut reply = fixture(api);
        *reply.pointer_mut(ids).expect("in the fixture") = json!([9, 2, 3]);
        if let Some((at, value)) = changes {
            *reply.pointer_mut(at).expect("in the fixture") = value;
        }
        if api == Api::Sglang {
            reply["meta_info"]["input_token_logprobs"] = json!([[null, 6, null]]);
            reply["meta_info"]["input_top_logprobs"] = json!([null]);
        }
        let stub = replying(api, reply);
        let answer = client(&stub, api).relay(&CONTEXT, 4, None, &ToyModel::vocabulary());
        let answer = answer.expect("an answer");
        assert_eq!((answer.tokens, answer.positions), (tokens, positions), "{api}");
        let most = ["/max_tokens", "/sampling_params/max_new_tokens", "/n_predict"];
        let asked = stub.requests().remove(0).body;
        assert_eq!(most.iter().find_map(|field| asked.pointer(field)), Some(&json!(4)));
        let error = client(&stub, api).relay(&CONTEXT, 2, None, &ToyModel::vocabulary());
        assert!(error.expect_err("too many").to_string().contains("expected 1 to 2"), "{api}");
    }
    let stub = Stub::start(|_, _| Said::ok(&fixture(Api::OpenAi).to_string()));
    let answer = client(&stub, Api::OpenAi).relay(&CONTEXT, 4, None, &ToyModel::vocabulary());
    assert_eq!(answer.expect("an answer").tokens, [9], "text alone: one token at a time");
    assert_eq!(stub.requests()[0].body["max_tokens"], 1);
}

#[test]
fn the_end_of_an_answer_is_the_end_token() {
    for (api, changes) in [
        (
            Api::Vllm,
            vec![("/choices/0/token_ids", json!([])), ("/choices/0/finish_reason", json!("stop"))],
        ),
        (
            Api::OpenAi,
            vec![("/choices/0/text", json!("")), ("/choices/0/finish_reason", json!("stop"))],
        ),
        (Api::LlamaCpp, vec![("/tokens", json!([])), ("/stop_type", json!("eos"))]),
    ] {
        let mut reply = fixture(api);
        for (at, value) in changes {
            *reply.pointer_mut(at).expect("in the fixture") = value;
        }
        let stub = replying(api, reply);
        assert_eq!(ask(&client(&stub, api), 4).expect("an answer").tokens, [14], "{api}");
    }
}

#[test]
fn a_text_counts_only_if_it_is_exactly_one_token() {
    for (text, outcome) in [
        (" apple", Ok(9)),
        ("t11", Ok(11)),
        ("apple", Err("is not the text of one token")),
        (" apple t11", Err("is not the text of one token")),
        ("twin", Err("is the text of several tokens")),
        ("\u{FFFD}", Err("is not the text of one token")),
        ("", Err("is not the text of one token")),
    ] {
        let mut reply = fixture(Api::OpenAi);
        reply["choices"][0]["text"] = json!(text);
        let stub = Stub::start(move |_, _| Said::ok(&reply.to_string()));
        match (ask(&client(&stub, Api::OpenAi), 4), outcome) {
            (Ok(reply), Ok(token)) => assert_eq!(reply.tokens, [token], "{text:?}"),
            (Err(error), Err(part)) => {
                assert!(matches!(error, LlmError::BadReply(_)), "{error:?}");
                assert!(error.to_string().contains(part), "{text:?}: {error}");
            }
            (reply, _) => panic!("{text:?}: {reply:?}"),
        }
    }
}

#[test]
fn a_reply_to_another_prefix_of_the_same_length_is_refused() {
    for (api, told_apart) in [
        (Api::Tokenroute, true),
        (Api::Vllm, true),
        (Api::Sglang, true),
        (Api::LlamaCpp, true),
        (Api::OpenAi, false),
    ] {
        // Sends every reply to the next request too, as a faulty cache would.
        let first = std::sync::Mutex::new(None);
        let stub = Stub::start(move |_, asked| {
            let mut reply = repeating(api, fixture(api), asked);
            reply["meta_info"]["input_token_logprobs"] = json!([]);
            let mut first = first.lock().expect("no panic");
            Said::ok(&first.get_or_insert(reply).to_string())
        });
        let llm = client(&stub, api);
        let answer = |context: &[TokenId]| llm.ask(&[Ask::greedy(context, 4)]).remove(0);
        assert_eq!(answer(&CONTEXT).expect("an answer").tokens, [9], "{api}");
        assert_eq!(answer(&CONTEXT).expect("the same request again").tokens, [9], "{api}");
        match answer(&[3, 4, 2, 6]) {
            Ok(reply) => assert!(!told_apart && reply.tokens == [9], "{api}"),
            Err(error) => {
                assert!(
                    told_apart && error.to_string().contains("another prefix"),
                    "{api}: {error}"
                );
            }
        }
    }
    // Two SGLang requests in flight need different names, even for one prefix.
    let stub = replying(Api::Sglang, fixture(Api::Sglang));
    for _ in 0..2 {
        ask(&client(&stub, Api::Sglang), 2).expect("an answer");
    }
    let names: Vec<Value> = stub.requests().into_iter().map(|r| r.body["rid"].clone()).collect();
    assert_ne!(names[0], names[1]);
}

#[test]
fn replies_that_are_not_the_answer_are_refused() {
    use Api::{LlamaCpp, OpenAi, Sglang, Vllm};
    for (api, from, at, value, part) in [
        (Vllm, 4, "/choices/0/prompt_token_ids", json!([3, 4, 5, 7]), "another prefix"),
        (Vllm, 4, "/usage/prompt_tokens", json!(5), "5 prompt tokens; 4 were sent"),
        (Vllm, 4, "/choices/0/token_ids", json!([16]), "token 16 is outside the vocabulary of 16"),
        (Vllm, 4, "/choices/0/token_ids", json!([1, 2]), "2 token ids"),
        (Vllm, 4, "/choices/0/token_ids", json!([-1]), "JSON"),
        (Vllm, 4, "/choices", json!([]), "0 choices"),
        (Vllm, 2, "/choices/0/prompt_logprobs", json!(null), "no prompt_logprobs"),
        (Vllm, 2, "/choices/0/prompt_logprobs/3", json!({}), "no token of rank 1"),
        (Vllm, 2, "/choices/0/prompt_logprobs", json!([null]), "for 1 tokens"),
        (Sglang, 2, "/meta_info/input_token_logprobs/1", json!([-1, 6, null]), "another prefix"),
        (Sglang, 4, "/meta_info/input_token_logprobs", json!([[null, 5, null]]), "another prefix"),
        (Sglang, 4, "/meta_info/id", json!("tokenroute-0-1"), "another prefix"),
        (Sglang, 2, "/meta_info/input_top_logprobs", json!([null]), "expected 3"),
        (Sglang, 2, "/meta_info/prompt_tokens", json!(3), "3 prompt tokens"),
        (Sglang, 2, "/output_ids", json!([99]), "outside the vocabulary"),
        (LlamaCpp, 4, "/tokens_evaluated", json!(5), "5 prompt tokens"),
        (LlamaCpp, 4, "/generation_settings/seed", json!(7), "another prefix"),
        (LlamaCpp, 4, "/truncated", json!(true), "cut the prompt"),
        (LlamaCpp, 4, "/tokens", json!([]), "0 token ids"),
        (LlamaCpp, 4, "/tokens", json!(null), "no token ids"),
        (OpenAi, 4, "/usage/prompt_tokens", json!(3), "3 prompt tokens"),
    ] {
        let stub = Stub::start(move |_, asked| {
            let mut reply = repeating(api, fixture(api), asked);
            *reply.pointer_mut(at).unwrap_or_else(|| panic!("no {at} in {api}")) = value.clone();
            Said::ok(&reply.to_string())
        });
        let error = ask(&client(&stub, api), from).expect_err("a refusal");
        assert!(matches!(error, LlmError::BadReply(_)), "{error:?}");
        assert!(error.to_string().contains(part), "{api} {at}: {error}");
    }
}

#[test]
fn the_server_is_asked_what_it_is() {
    for (owner, api) in [
        ("vllm", Api::Vllm),
        ("sglang", Api::Sglang),
        ("llamacpp", Api::LlamaCpp),
        ("tokenroute", Api::Tokenroute),
        ("organization-owner", Api::OpenAi),
    ] {
        let list = json!({"object": "list", "data": [{"id": "big", "owned_by": owner}]});
        let stub = Stub::start(move |_, _| Said::ok(&list.to_string()));
        let server = stub.client(|_| {}).server().expect("a server");
        assert_eq!((server.api, server.model.as_str()), (api, "big"));
        assert_eq!(stub.requests()[0].line, "GET /v1/models HTTP/1.1");
        let wrong = stub.client(|c| c.model = Some("small".to_owned()));
        let error = wrong.server().expect_err("no such model").to_string();
        assert!(error.contains("no model small; it has big"), "{error}");
    }
    let list = json!({"data": [{"id": "b", "owned_by": "tokenroute", "tokenizer_hash": "other"}]});
    let stub = Stub::start(move |_, _| Said::ok(&list.to_string()));
    let llm = stub.client(|_| {});
    let error = llm.server().expect_err("no pair");
    assert!(matches!(error, HttpError::OtherTokenizer { .. }), "{error:?}");
    let error = ask(&llm, 4).expect_err("no pair");
    assert!(matches!(&error, LlmError::Refused(m) if m.contains("no pair")), "{error:?}");
}

#[test]
fn urls_and_names_that_make_no_sense_are_refused() {
    for (url, part) in [
        ("127.0.0.1:80", "no scheme"),
        ("ftp://host", "neither http nor https"),
        ("http://", "names no host"),
        ("http://user:sesame@host/v1", "contains a user or password"),
        ("http://host/v1?key=1", "query"),
    ] {
        let error = Http::new(config(url), ToyModel::vocabulary(), None).expect_err("refused");
        assert!(error.to_string().contains(part), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
    }
    assert!("gguf".parse::<Api>().expect_err("no API").to_string().contains("llama-cpp"));
    assert_eq!("sglang".parse::<Api>().expect("an API"), Api::Sglang);
}
