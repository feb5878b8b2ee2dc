//! Fields that both servers read alike.

use serde_json::Value;
use tokenroute_core::{Sampling, SamplingError, TokenId};

use crate::net::openai::fields::{RequestFields, wrong};
use crate::net::refusal::Refusal;

/// The field of `/v1/completions` that holds prompts.
pub(crate) const PROMPT: &str = "prompt";

const PROMPTS_EXPECTED: &str = "a string, a list of token ids, or a list of several of these";

/// Tokens that `/v1/completions` generates by default, as OpenAI does.
pub(crate) const COMPLETION_TOKENS: usize = 16;

/// One prompt of `/v1/completions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt<'a> {
    /// A text.
    Text(&'a str),
    /// Token ids.
    Ids(Vec<TokenId>),
}

impl<'a> Prompt<'a> {
    /// A prompt that is an element of a list of prompts.
    fn element(value: &'a Value) -> Option<Prompt<'a>> {
        match value {
            Value::String(text) => Some(Prompt::Text(text)),
            Value::Array(list) => ids(list).map(Prompt::Ids),
            _ => None,
        }
    }
}

fn ids(list: &[Value]) -> Option<Vec<TokenId>> {
    list.iter().map(|id| TokenId::try_from(id.as_u64()?).ok()).collect()
}

/// The prompts of a request to `/v1/completions`, at least one.
pub(crate) fn prompts(fields: &RequestFields) -> Result<Vec<Prompt<'_>>, Refusal> {
    let Some(value) = fields.get(PROMPT) else {
        let message = format!("`{PROMPT}` is missing; expected {PROMPTS_EXPECTED}");
        return Err(Refusal::field(PROMPT, message));
    };
    let prompts = match value {
        Value::Array(list) if matches!(list.first(), Some(Value::String(_) | Value::Array(_))) => {
            list.iter().map(Prompt::element).collect()
        }
        one => Prompt::element(one).map(|prompt| vec![prompt]),
    };
    prompts.ok_or_else(|| wrong(PROMPT, value, PROMPTS_EXPECTED))
}

/// Refuses a text that is too long for `most` tokens, if each has as many bytes as the longest
/// token. It costs nothing, unlike tokenising the text.
pub(crate) fn check_bytes(
    field: &'static str,
    text: &str,
    most: usize,
    longest_token: usize,
) -> Result<(), Refusal> {
    let (bytes, limit) = (text.len(), most.saturating_mul(longest_token.max(1)));
    if bytes <= limit {
        return Ok(());
    }
    Err(Refusal::TooLong {
        field,
        message: format!("the prompt has {bytes} bytes; {most} tokens hold at most {limit}"),
    })
}

/// Refuses a prompt that is empty, exceeds `most` tokens or has ids outside the vocabulary.
pub(crate) fn check_prompt(
    field: &'static str,
    prompt: &[TokenId],
    most: usize,
    vocabulary: usize,
) -> Result<(), Refusal> {
    let found = prompt.len();
    let message = || format!("the prompt has {found} tokens; expected 1 to {most}");
    if found == 0 {
        return Err(Refusal::field(field, message()));
    }
    if found > most {
        return Err(Refusal::TooLong { field, message: message() });
    }
    match prompt.iter().find(|&&id| id as usize >= vocabulary) {
        Some(id) => {
            let message = format!("token id {id} is outside the vocabulary of {vocabulary}");
            Err(Refusal::field(field, message))
        }
        None => Ok(()),
    }
}

/// Refuses a request for another model; a request may leave the name out.
pub(crate) fn check_model(fields: &RequestFields, served: &str) -> Result<(), Refusal> {
    match fields.text("model")? {
        Some(wanted) if wanted != served => {
            Err(Refusal::NoModel { wanted: wanted.to_owned(), served: served.to_owned() })
        }
        _ => Ok(()),
    }
}

/// The request's sampling. Unlike OpenAI's servers these are greedy by default: τ is
/// measured for greedy decoding.
pub(crate) fn sampling(fields: &RequestFields) -> Result<Option<Sampling>, Refusal> {
    let temperature = fields.number("temperature")?.unwrap_or(0.0);
    let top_p = fields.number("top_p")?.unwrap_or(1.0);
    let seed = fields.bits("seed")?.unwrap_or(0);
    Sampling::new(temperature, top_p, seed).map_err(|error| {
        let field = match error {
            SamplingError::Temperature(_) => "temperature",
            SamplingError::TopP(_) => "top_p",
        };
        Refusal::field(field, error.to_string())
    })
}

/// Refuses a request for several answers to one prompt, by these fields.
pub(crate) fn check_single(fields: &RequestFields, names: &[&'static str]) -> Result<(), Refusal> {
    for &name in names {
        if fields.count(name, 1, usize::MAX)?.unwrap_or(1) != 1 {
            let message = format!(
                "`{name}` must be 1: a prompt and a seed have one answer; send a request for each"
            );
            return Err(Refusal::field(name, message));
        }
    }
    Ok(())
}

/// Refuses these fields if they ask for anything. Ignoring them would give an answer
/// that the client did not ask for.
pub(crate) fn check_unsupported(
    fields: &RequestFields,
    names: &[&'static str],
) -> Result<(), Refusal> {
    for &name in names {
        let asks_nothing = match fields.get(name) {
            None | Some(Value::Bool(false)) => true,
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(Value::String(text)) => text.is_empty(),
            Some(_) => false,
        };
        if !asks_nothing {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

/// A field that the server does not support.
pub(crate) fn unsupported(name: &'static str) -> Refusal {
    Refusal::field(name, format!("`{name}` is not supported; leave it out"))
}
