//! Replies of SGLang and llama.cpp's server in their own shapes.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tokenroute_core::{LlmError, Reply, TokenId};

use super::{Facts, Query, REQUEST, bad, check_count, parse, positions, run};

#[derive(Deserialize)]
struct Generated {
    output_ids: Option<Vec<TokenId>>,
    meta_info: Meta,
}

#[derive(Deserialize)]
struct Meta {
    id: Option<String>,
    prompt_tokens: Option<u64>,
    cached_tokens: Option<u64>,
    finish_reason: Option<Value>,
    #[serde(default)]
    input_token_logprobs: Vec<SglangToken>,
    #[serde(default)]
    input_top_logprobs: Vec<Option<Vec<SglangToken>>>,
    #[serde(default)]
    output_token_logprobs: Vec<SglangToken>,
}

/// Log-probability (none at a window's start), token id, and optional text; only the id is
/// read.
#[derive(Deserialize)]
#[serde(from = "(IgnoredAny, TokenId, IgnoredAny)")]
struct SglangToken(TokenId);

impl From<(IgnoredAny, TokenId, IgnoredAny)> for SglangToken {
    fn from((_, token, _): (IgnoredAny, TokenId, IgnoredAny)) -> Self {
        SglangToken(token)
    }
}

pub(super) fn sglang(bytes: &[u8], query: &Query<'_>, facts: &Facts) -> Result<Reply, LlmError> {
    let reply: Generated = parse(bytes)?;
    let meta = &reply.meta_info;
    check_count(meta.prompt_tokens, query)?;
    // A load balancer before the server may set names of its own.
    let ours = meta.id.as_deref().filter(|id| id.starts_with(REQUEST));
    if ours.is_some_and(|id| !id.starts_with(&query.name())) {
        return bad("an answer to another prefix".to_owned());
    }
    let window = &query.context[query.from - 1..];
    let (echoed, scored) = (&meta.input_token_logprobs, &meta.input_top_logprobs);
    // SGLang writes 0 for the vocabulary's last id.
    let differs = echoed.iter().zip(window).any(|(e, &sent)| e.0 != sent && e.0 != 0);
    if differs && echoed.len() == window.len() {
        return bad("an answer to another prefix".to_owned());
    }
    let mut tokens = Vec::with_capacity(query.context.len() - query.from + 1);
    if query.scores() {
        if echoed.len() != window.len() || scored.len() != window.len() {
            let (echoed, scored, window) = (echoed.len(), scored.len(), window.len());
            return bad(format!(
                "input log-probabilities for {echoed} and {scored} tokens; expected {window}"
            ));
        }
        for (at, entry) in scored.iter().enumerate().skip(1) {
            match entry.as_deref() {
                Some([best, ..]) => tokens.push(best.0),
                _ => return bad(format!("no token at prompt position {}", query.from - 1 + at)),
            }
        }
    }
    let stopped = meta.finish_reason.as_ref().is_some_and(|r| r["type"] == "stop");
    let made: Vec<TokenId> = match reply.output_ids {
        Some(ids) if !ids.is_empty() => ids,
        _ => meta.output_token_logprobs.iter().map(|token| token.0).collect(),
    };
    let made = run(&made, stopped, query, facts)?;
    let positions = positions(query, meta.cached_tokens, made.len());
    tokens.extend(made);
    Ok(Reply { tokens, positions, ..Reply::default() })
}

#[derive(Deserialize)]
struct LlamaCpp {
    tokens: Option<Vec<TokenId>>,
    tokens_evaluated: Option<u64>,
    #[serde(default)]
    truncated: bool,
    stop_type: Option<String>,
    timings: Option<Timings>,
    generation_settings: Option<Settings>,
}

#[derive(Deserialize)]
struct Settings {
    seed: Option<u64>,
}

#[derive(Deserialize)]
struct Timings {
    prompt_n: Option<u64>,
}

pub(super) fn llama_cpp(bytes: &[u8], query: &Query<'_>, facts: &Facts) -> Result<Reply, LlmError> {
    let reply: LlamaCpp = parse(bytes)?;
    check_count(reply.tokens_evaluated, query)?;
    let seed = reply.generation_settings.and_then(|settings| settings.seed);
    if seed.is_some_and(|seed| seed != u64::from(query.seed())) {
        return bad("an answer to another prefix".to_owned());
    }
    if reply.truncated {
        return bad("the server cut the prompt; start it with a larger context".to_owned());
    }
    let Some(ids) = &reply.tokens else {
        return bad("no token ids; use a server that supports return_tokens".to_owned());
    };
    let stopped = reply.stop_type.as_deref() == Some("eos");
    let tokens = run(ids, stopped, query, facts)?;
    let known = reply.timings.and_then(|t| t.prompt_n);
    let known = known.map(|processed| (query.context.len() as u64).saturating_sub(processed));
    let positions = positions(query, known, tokens.len());
    Ok(Reply { tokens, positions, ..Reply::default() })
}
