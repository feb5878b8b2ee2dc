//! A chat server that gives whole answers alone: what it is sent, what its answers are in tokens
//! of the small model, and that a limit of spending holds whatever it does.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokenroute_core::{
    Ask, Continuation, Llm, LlmError, ModelError, Reply, Sampling, Spelled, Speller, TokenId,
};
use tokenroute_llm::http::{Http, SpendLimit, TextApi, TokenPrices, WholeAnswers};
use tokenroute_llm::{LlmPrompt, Prompts, ToyModel};

use crate::stub::{Said, Stub, config};

/// A token for each byte, and one that ends an answer.
struct Bytewise([[u8; 1]; 256]);

const END: TokenId = 256;

impl Speller for Bytewise {
    fn bytes(&self, token: TokenId) -> &[u8] {
        self.0.get(token as usize).map_or(&[], |byte| byte)
    }

    fn size(&self) -> usize {
        257
    }

    fn spell(&self, text: &str) -> Result<Spelled, ModelError> {
        Ok(Spelled { tokens: text.bytes().map(TokenId::from).collect(), settled: true })
    }
}

const PROMPT: [TokenId; 2] = [7, 8];
const PLAIN: [TokenId; 2] = [9, 9];

fn llm(stub: &Stub, most: Option<f64>) -> WholeAnswers {
    let mut config = config(&stub.url);
    (config.text, config.model) = (Some(TextApi::Chat), Some("big".to_owned()));
    if let Some(most) = most {
        let prices = TokenPrices { input: 1e6, cached_input: 5e5, output: 2e6 };
        config.spend = Some(SpendLimit { prices, most });
        config.attempts = 1;
    }
    let http = Http::new(config, ToyModel::vocabulary(), None).expect("a good URL");
    let prompts = Arc::new(Prompts::new(8));
    let turns = [("system", "Be brief."), ("user", "one?")];
    let turns = turns.map(|(role, content)| (role.to_owned(), content.to_owned())).to_vec();
    prompts.announce(&PROMPT, LlmPrompt::Chat(turns));
    prompts.announce(&PLAIN, LlmPrompt::Text("one?".to_owned()));
    let spelled = std::array::from_fn(|byte| [byte as u8]);
    WholeAnswers::new(http, Arc::new(Bytewise(spelled)), END, prompts)
}

fn reply(text: &str, reason: &str) -> Value {
    let message = json!({"role": "assistant", "content": text, "refusal": null});
    json!({"id": "c-1", "object": "chat.completion", "model": "big",
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": null}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 8}}})
}

fn whole(llm: &WholeAnswers, context: &[TokenId], tokens: usize) -> Result<Reply, LlmError> {
    let wanted = [Continuation { context, tokens, sampling: None, resumed: true }];
    llm.continuations(&wanted, &ToyModel::vocabulary()).remove(0)
}

fn ids(text: &str) -> Vec<TokenId> {
    text.bytes().map(TokenId::from).collect()
}

#[test]
fn an_answer_is_one_request_and_comes_in_the_small_models_tokens() {
    for (text, reason, tokens, expected) in [
        ("B.", "stop", 20, [ids("B."), vec![END]].concat()),
        ("Bank", "stop", 4, ids("Bank")),
        ("Bank", "stop", 2, ids("Ba")),
        // Cut by the server, which counts in its own tokens.
        ("Ba", "length", 20, ids("Ba")),
        ("Ba\u{fffd}", "length", 20, ids("Ba")),
        ("", "stop", 20, vec![END]),
    ] {
        let stub = Stub::start(move |_, _| Said::ok(&reply(text, reason).to_string()));
        let llm = llm(&stub, None);
        let said = whole(&llm, &PROMPT, tokens).expect("an answer");
        assert_eq!(said.tokens, expected, "{text:?} {reason} {tokens}");
        assert_eq!(said.positions, 6, "4 read, 3 made");
        assert!(said.bytes.up > 0 && said.bytes.down > 0);
        let [asked] = &stub.requests()[..] else { panic!("one request") };
        assert_eq!(asked.line, "POST /v1/chat/completions HTTP/1.1");
        let messages = json!([
            {"role": "system", "content": "Be brief."}, {"role": "user", "content": "one?"}
        ]);
        assert_eq!(
            asked.body,
            json!({"model": "big", "messages": messages, "max_tokens": tokens, "temperature": 0.0,
                "stream": false})
        );
        // A first token alone is the first of the same answer.
        let first = llm.ask(&[Ask::next(&PROMPT, None)]).remove(0).expect("a token");
        assert_eq!(first.tokens, expected[..1]);
    }
}

#[test]
fn nothing_is_asked_after_a_begun_answer_and_faults_are_named() {
    let stub = Stub::start(|_, _| Said::status(500, "never asked"));
    let llm = llm(&stub, None);
    for (context, part) in [(&[7, 8, 66][..], "none after a begun one"), (&PLAIN, "takes chats")] {
        for error in [
            whole(&llm, context, 9).expect_err("a refusal"),
            llm.ask(&[Ask::next(context, None)]).remove(0).expect_err("a refusal"),
        ] {
            assert!(matches!(&error, LlmError::Refused(text) if text.contains(part)), "{error:?}");
        }
    }
    assert!(stub.requests().is_empty());
    for (at, value, part) in [
        ("/choices", json!([]), "0 choices"),
        ("/choices/0/message/content", Value::Null, "without text"),
        ("/choices/0/finish_reason", json!("content_filter"), "content_filter"),
    ] {
        let stub = Stub::start(move |_, _| {
            let mut reply = reply("B", "stop");
            *reply.pointer_mut(at).expect("in the reply") = value.clone();
            Said::ok(&reply.to_string())
        });
        let error = whole(&self::llm(&stub, None), &PROMPT, 9).expect_err("a refusal");
        assert!(matches!(&error, LlmError::BadReply(text) if text.contains(part)), "{error:?}");
    }
}

#[test]
fn a_busy_server_is_asked_again_and_draws_have_a_seed() {
    let stub = Stub::start(|number, _| match number {
        0 => Said { headers: "retry-after: 0\r\n", ..Said::status(429, "slow down") },
        _ => Said::ok(&reply("B", "stop").to_string()),
    });
    let sampling = Sampling::new(0.7, 0.9, 5).expect("a sampling");
    let wanted = [Continuation { context: &PROMPT, tokens: 9, sampling, resumed: true }];
    let said = llm(&stub, None).continuations(&wanted, &ToyModel::vocabulary()).remove(0);
    assert_eq!(said.expect("an answer").tokens, [66, END]);
    let body = &stub.requests()[1].body;
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(0.7), &json!(0.9)));
    assert!(body["seed"].is_u64());
}

#[test]
fn whatever_the_server_does_the_limit_of_spending_holds() {
    // 23 bytes of roles and texts, 1024 tokens of a template for the request and for each of three
    // messages, 9 tokens received.
    let worst = 23.0 + 4.0 * 1024.0 + 2.0 * 9.0;
    let fault = |kind: usize| -> Said {
        let good = reply("B", "stop");
        let mut unbilled = good.clone();
        unbilled["usage"] = Value::Null;
        match kind {
            0 => Said::ok(&good.to_string()),
            1 => Said::status(401, "no"),
            2 => Said { headers: "retry-after: 9\r\n", ..Said::status(429, "busy") },
            3 => Said::status(503, "down"),
            4 => Said::ok("{\"choices\": []}"),
            5 => Said::ok(&unbilled.to_string()),
            _ => Said { after: Duration::from_millis(500), ..Said::ok(&good.to_string()) },
        }
    };
    // 4 read, 8 cached at half the price, 3 made at twice the price.
    for (kind, each) in
        [(0, 14.0), (1, 0.0), (2, 0.0), (3, worst), (4, worst), (5, worst), (6, worst)]
    {
        let most = 2.5 * worst;
        let stub = Stub::start(move |_, _| fault(kind));
        let llm = llm(&stub, Some(most));
        let mut refused = 0;
        for _ in 0..4 {
            let said = whole(&llm, &PROMPT, 9);
            refused += usize::from(
                matches!(said, Err(LlmError::Refused(text)) if text.contains("limit of spending")),
            );
        }
        let spent = llm.http().bill().expect("a bill").spent();
        let paid = if each == worst { 2.0 } else { 4.0 };
        assert_eq!(spent, paid * each, "fault {kind}");
        assert_eq!(refused, if each == worst { 2 } else { 0 }, "fault {kind}");
        // A server that is busy three times in a row is left alone.
        let sent = if kind == 2 { 3 } else { paid as usize };
        let answered = stub.requests().iter().filter(|a| a.line.starts_with("POST")).count();
        assert_eq!(answered, sent, "fault {kind}");
    }
}
