//! Tokens passed on as the server sends them.

use tokenroute_core::{LlmError, TokenId};
use tokenroute_llm::ToyModel;
use tokenroute_llm::http::{Api, Http, HttpConfig};

use crate::stub::{Said, Stub};

/// The result of a stub's stream: the tokens passed on, and the end.
fn streamed(api: Api, text: &str) -> (Vec<TokenId>, Result<Vec<TokenId>, LlmError>) {
    let text = text.to_owned();
    let stub = Stub::start(move |_, _| Said::ok(&text));
    let mut config = HttpConfig::new(&stub.url);
    config.api = Some(api);
    config.model = Some("m".to_owned());
    let http = Http::new(config, ToyModel::vocabulary(), None).expect("a good URL");
    let mut heard = Vec::new();
    let reply = http.stream(&[1, 2], 3, &mut |token| heard.push(token));
    (heard, reply.map(|reply| reply.tokens))
}

#[test]
fn a_stream_that_is_not_one_is_refused() {
    let piece = |ids: &str, end: &str| {
        format!("data: {{\"choices\":[{{\"token_ids\":{ids},\"finish_reason\":{end}}}]}}\n\n")
    };
    let whole = [piece("[4]", "null"), piece("[5,6]", "\"length\""), "data: [DONE]\n\n".into()];
    assert_eq!(streamed(Api::Vllm, &whole.concat()), (vec![4, 5, 6], Ok(vec![4, 5, 6])));
    for (text, handed_out, said) in [
        (piece("[4]", "null"), 1, "broke off after 1"),
        (piece("[4,99]", "\"stop\""), 1, "token 99 is outside"),
        (piece("[4,5,6,7]", "\"length\""), 3, "more than 3"),
        ("data: {]\n".to_owned(), 0, "an event of 2 bytes"),
        ("no events at all".to_owned(), 0, "broke off after 0"),
    ] {
        let (heard, reply) = streamed(Api::Tokenroute, &text);
        let error = reply.expect_err(said).to_string();
        assert!(heard.len() == handed_out && error.contains(said), "{heard:?} {error}");
    }
    let (_, reply) = streamed(Api::LlamaCpp, "");
    assert!(matches!(reply, Err(LlmError::Refused(text)) if text.contains("llama-cpp")));
}
