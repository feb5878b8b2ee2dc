//! Fields that bound or change how an answer is decoded.

use serde_json::Value;
use tokenroute_core::{Sampling, Tau};
use tokenroute_runtime::{Budget, Policy, Wait};

use crate::net::openai::fields::RequestFields;
use crate::net::openai::request::{
    COMPLETION_TOKENS, check_single, check_unsupported, unsupported,
};
use crate::net::refusal::Refusal;
use crate::routed::request::AnswerKind;
use crate::routed::served::ServedPair;

/// Most stop strings, and most bytes of all of them: each is searched for at every token.
const STOPS: usize = 16;
const STOP_BYTES: usize = 4096;

/// Most answers to one prompt.
const ANSWERS: usize = 16;

/// Most of the small model's most probable tokens for each token, as OpenAI allows.
const TOP: usize = 20;

const ECHO: &str = "echo";
const TOP_LOGPROBS: &str = "top_logprobs";
const TOKENS: &str = "tokenroute";

/// Refuses fields that ask for more than this server does.
pub(super) fn check_supported(kind: AnswerKind, fields: &RequestFields) -> Result<(), Refusal> {
    check_single(fields, &["best_of"])?;
    for name in ["frequency_penalty", "presence_penalty"] {
        if fields.number(name)?.unwrap_or(0.0) != 0.0 {
            return Err(unsupported(name));
        }
    }
    if kind == AnswerKind::Text && fields.flag(ECHO)? {
        let message = format!(
            "`{ECHO}` is not supported: a pair has two models, so a prompt has no log-probabilities of its own; `tokenroute cloud` answers it for one model"
        );
        return Err(Refusal::field(ECHO, message));
    }
    check_unsupported(fields, kind.unsupported())?;
    check_text_format("response_format", fields.get("response_format"))
}

/// Refuses every format of answers but text.
pub(super) fn check_text_format(name: &'static str, format: Option<&Value>) -> Result<(), Refusal> {
    match format.map(|format| &format["type"]) {
        None => Ok(()),
        Some(kind) if kind == "text" => Ok(()),
        Some(kind) => {
            let message = format!(
                "`{name}` asks for {kind}; this server answers in text alone, so leave it out"
            );
            Err(Refusal::field(name, message))
        }
    }
}

/// How many answers are wanted. Greedy ones would all be the same.
pub(super) fn answers(
    fields: &RequestFields,
    sampling: Option<Sampling>,
) -> Result<usize, Refusal> {
    let n = fields.count("n", 1, ANSWERS)?.unwrap_or(1);
    if n > 1 && sampling.is_none() {
        let message = format!(
            "`n` is {n} at temperature 0, where all answers are the same; give a temperature, or leave it out"
        );
        return Err(Refusal::field("n", message));
    }
    if n > 1 && fields.flag(TOKENS)? {
        let message = format!("`{TOKENS}` lists the tokens of one answer; leave it out, or `n`");
        return Err(Refusal::field(TOKENS, message));
    }
    Ok(n)
}

/// How many of the most probable tokens come with each one, if log-probabilities are wanted.
pub(super) fn listed(kind: AnswerKind, fields: &RequestFields) -> Result<Option<usize>, Refusal> {
    match kind {
        AnswerKind::Chat => {}
        AnswerKind::Text => return fields.count("logprobs", 0, TOP),
        AnswerKind::Response => return Ok(None),
    }
    let top = fields.count(TOP_LOGPROBS, 0, TOP)?.unwrap_or(0);
    match fields.flag("logprobs")? {
        true => Ok(Some(top)),
        false if top == 0 => Ok(None),
        false => {
            let message = format!("`{TOP_LOGPROBS}` is {top}; it needs `logprobs` to be true");
            Err(Refusal::field(TOP_LOGPROBS, message))
        }
    }
}

/// The server's policy, with the request's τ and budget.
pub(super) fn policy(fields: &RequestFields, pair: &ServedPair) -> Result<Policy, Refusal> {
    let mut policy = pair.policy;
    if let Some(tau) = fields.number("tau")? {
        policy.tau = Tau::new(tau).map_err(|e| Refusal::field("tau", e.to_string()))?;
        if !pair.routed && policy.tau != Tau::SLM_ONLY {
            return Err(no_llm("tau"));
        }
    }
    if let Some(share) = fields.number("max_offload")? {
        policy.budget =
            Budget::new(share).map_err(|e| Refusal::field("max_offload", e.to_string()))?;
        if !pair.routed && share > 0.0 {
            return Err(no_llm("max_offload"));
        }
        if policy.wait == Wait::Whole && share < 1.0 {
            let message = "`max_offload` counts tokens, and the large model makes whole answers here; leave it out";
            return Err(Refusal::field("max_offload", message.to_owned()));
        }
    }
    Ok(policy)
}

fn no_llm(field: &'static str) -> Refusal {
    let message = format!(
        "`{field}` asks for tokens of a large model, and this server has none; leave it out or start it with --llm"
    );
    Refusal::field(field, message)
}

pub(super) fn stops(fields: &RequestFields) -> Result<Vec<String>, Refusal> {
    let stops = fields.texts("stop")?;
    if stops.len() > STOPS || stops.iter().any(String::is_empty) {
        let found = stops.len();
        let message =
            format!("`stop` holds {found} strings; expected at most {STOPS}, none of them empty");
        return Err(Refusal::field("stop", message));
    }
    let bytes: usize = stops.iter().map(String::len).sum();
    if bytes > STOP_BYTES {
        let message = format!("`stop` holds {bytes} bytes; expected at most {STOP_BYTES}");
        return Err(Refusal::field("stop", message));
    }
    Ok(stops)
}

/// The limit of tokens: the request's, which must fit, or by default all that fit. The context
/// has `room` for an answer, and the server allows `most`.
pub(super) fn max_tokens(
    kind: AnswerKind,
    fields: &RequestFields,
    most: usize,
    room: usize,
) -> Result<usize, Refusal> {
    let count = |field| match fields.count(field, 1, most)? {
        Some(given) if given > room => Err(Refusal::TooLong {
            field,
            message: format!(
                "`{field}` is {given}; the context has room for {room} after the prompt"
            ),
        }),
        given => Ok(given),
    };
    let given = match kind {
        AnswerKind::Chat => count("max_completion_tokens")?.or(count("max_tokens")?),
        AnswerKind::Text => count("max_tokens")?,
        AnswerKind::Response => count("max_output_tokens")?,
    };
    let most = most.min(room);
    Ok(given.unwrap_or(match kind {
        AnswerKind::Chat | AnswerKind::Response => most,
        AnswerKind::Text => COMPLETION_TOKENS.min(most),
    }))
}
