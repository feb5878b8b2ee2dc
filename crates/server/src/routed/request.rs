//! Requests to `/v1/chat/completions` and `/v1/completions`, checked before they
//! cost anything.

use std::collections::BTreeMap;

use serde_json::Value;
use tokenroute_core::{Tau, TokenId};
use tokenroute_model::{ChatOptions, Message};
use tokenroute_runtime::{Budget, Policy, Wait};

use crate::net::memory::state_bytes;
use crate::net::openai::fields::{RequestFields, wrong};
use crate::net::openai::request::{
    COMPLETION_TOKENS, PROMPT, Prompt, check_bytes, check_model, check_prompt, check_single,
    check_unsupported, prompts, sampling, unsupported,
};
use crate::net::refusal::Refusal;
use crate::routed::served::ServedPair;

/// Most stop strings, and most bytes of all of them: each is searched for at every token.
const STOPS: usize = 16;
const STOP_BYTES: usize = 4096;

/// Bytes of a token in all its copies, and in a reply with the origin of every token.
const TOKEN_BYTES: usize = 256;
const SHOWN_TOKEN_BYTES: usize = 2048;

const ECHO: &str = "echo";
const MESSAGES: &str = "messages";
const VARIABLES: &str = "chat_template_kwargs";

/// Which of the two APIs a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
}

impl AnswerKind {
    /// OpenAI's prefix for ids of replies.
    pub(crate) fn id_prefix(self) -> &'static str {
        match self {
            AnswerKind::Chat => "chatcmpl",
            AnswerKind::Text => "cmpl",
        }
    }

    /// Fields that this server does not support.
    fn unsupported(self) -> &'static [&'static str] {
        match self {
            AnswerKind::Chat => {
                &["tools", "functions", "logit_bias", "audio", "logprobs", "top_logprobs"]
            }
            AnswerKind::Text => &["suffix", "logit_bias", "logprobs"],
        }
    }
}

/// A request that can be met.
#[derive(Debug)]
pub(crate) struct RoutedRequest {
    pub(crate) kind: AnswerKind,
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) max_tokens: usize,
    pub(crate) policy: Policy,
    pub(crate) stops: Vec<String>,
    pub(crate) stream: bool,
    /// Whether usage comes at the end of a stream.
    pub(crate) usage: bool,
    /// Whether the origin of every token comes with the reply.
    pub(crate) tokens: bool,
}

impl RoutedRequest {
    /// Reads a request and checks it against the pair. Unknown fields are ignored, as
    /// OpenAI does; known ones that would change the answer are refused.
    pub(crate) fn read(
        kind: AnswerKind,
        body: &[u8],
        pair: &ServedPair,
    ) -> Result<RoutedRequest, Refusal> {
        let fields = RequestFields::parse(body)?;
        check_model(&fields, &pair.name)?;
        check_supported(kind, &fields)?;
        let policy = Policy { sampling: sampling(&fields)?, ..policy(&fields, pair)? };
        let stops = stops(&fields)?;
        let (field, prompt) = match kind {
            AnswerKind::Chat => (MESSAGES, chat_prompt(&fields, pair)?),
            AnswerKind::Text => (PROMPT, text_prompt(&fields, pair)?),
        };
        check_prompt(field, &prompt, pair.most_prompt.min(pair.context), pair.vocabulary)?;
        // The last token made is not read again.
        let room = pair.context + 1 - prompt.len();
        Ok(RoutedRequest {
            kind,
            max_tokens: max_tokens(kind, &fields, pair.most_tokens, room)?,
            prompt,
            policy,
            stops,
            stream: fields.flag("stream")?,
            usage: fields.flag_within("stream_options", "include_usage")?,
            tokens: fields.flag("tokenroute")?,
        })
    }
}

impl RoutedRequest {
    /// Most bytes of its session's states, speculated ones included.
    pub(crate) fn session_bytes(&self, pair: &ServedPair) -> usize {
        let tokens = self.prompt.len().saturating_add(self.max_tokens);
        let session = state_bytes(pair.position_bytes, tokens);
        let ahead = match self.policy.wait {
            Wait::Speculate { branches, max_ahead } => {
                state_bytes(pair.position_bytes, max_ahead).saturating_mul(branches.get())
            }
            Wait::Block | Wait::Relay { .. } => 0,
        };
        session.saturating_add(ahead)
    }

    /// Most bytes of its prompt's and answer's tokens and of its reply.
    pub(crate) fn reply_bytes(&self) -> usize {
        let each = if self.tokens { SHOWN_TOKEN_BYTES } else { TOKEN_BYTES };
        self.prompt.len().saturating_add(self.max_tokens).saturating_mul(each)
    }
}

/// Refuses fields that ask for more than this server does.
fn check_supported(kind: AnswerKind, fields: &RequestFields) -> Result<(), Refusal> {
    check_single(fields)?;
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
    match fields.get("response_format").map(|format| &format["type"]) {
        None => Ok(()),
        Some(kind) if kind == "text" => Ok(()),
        Some(_) => Err(unsupported("response_format")),
    }
}

/// The server's policy, with the request's τ and budget.
fn policy(fields: &RequestFields, pair: &ServedPair) -> Result<Policy, Refusal> {
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
    }
    Ok(policy)
}

fn no_llm(field: &'static str) -> Refusal {
    let message = format!(
        "`{field}` asks for tokens of a large model, and this server has none; leave it out or start it with --llm"
    );
    Refusal::field(field, message)
}

fn stops(fields: &RequestFields) -> Result<Vec<String>, Refusal> {
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
fn max_tokens(
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
        AnswerKind::Chat => count("max_completion_tokens")?,
        AnswerKind::Text => None,
    };
    let (given, most) = (given.or(count("max_tokens")?), most.min(room));
    Ok(given.unwrap_or(match kind {
        AnswerKind::Chat => most,
        AnswerKind::Text => COMPLETION_TOKENS.min(most),
    }))
}

fn text_prompt(fields: &RequestFields, pair: &ServedPair) -> Result<Vec<TokenId>, Refusal> {
    let mut prompts = prompts(fields)?;
    match (prompts.pop(), prompts.is_empty()) {
        (Some(Prompt::Ids(_)), true) if pair.announce.is_some() => {
            let message = format!(
                "`{PROMPT}` holds token ids, and the large model shares text alone; send a text"
            );
            Err(Refusal::field(PROMPT, message))
        }
        (Some(Prompt::Ids(ids)), true) => Ok(ids),
        (Some(Prompt::Text(text)), true) => {
            check_bytes(PROMPT, text, pair.most_prompt.min(pair.context), pair.longest_token)?;
            let bad = |message| Refusal::field(PROMPT, message);
            let encoded = pair.tokenizer.encode_prompt(text);
            let encoded = encoded.map_err(|error| bad(error.to_string()))?;
            if let Some(announce) = &pair.announce {
                announce.text(&encoded, text).map_err(bad)?;
            }
            Ok(encoded)
        }
        _ => {
            let message = format!("`{PROMPT}` holds several prompts; send one request for each");
            Err(Refusal::field(PROMPT, message))
        }
    }
}

fn chat_prompt(fields: &RequestFields, pair: &ServedPair) -> Result<Vec<TokenId>, Refusal> {
    let bad = |message| Refusal::field(MESSAGES, message);
    let Some(template) = &pair.template else {
        let name = &pair.name;
        return Err(bad(format!(
            "{name} has no chat template; use /v1/completions, or give the model's folder a chat_template.jinja"
        )));
    };
    let Some(value) = fields.get(MESSAGES) else {
        return Err(bad("`messages` is missing; expected a list of messages".to_owned()));
    };
    let list = value.as_array().ok_or_else(|| wrong(MESSAGES, value, "a list of messages"))?;
    let messages: Vec<Message> =
        list.iter().enumerate().map(|(i, m)| message(i, m)).collect::<Result<_, _>>()?;
    if messages.is_empty() {
        return Err(bad("`messages` is empty; expected at least one message".to_owned()));
    }
    let options = ChatOptions { variables: variables(fields)?, ..ChatOptions::default() };
    if let Some(name) = options.reserved_variable() {
        let message =
            format!("`{VARIABLES}` sets `{name}`, which the server sets itself; leave it out");
        return Err(Refusal::field(VARIABLES, message));
    }
    if !pair.allow_special_tokens {
        check_plain(&messages, &options.variables, pair)?;
    }
    let prompt = template.render(&messages, &options).map_err(|error| bad(error.to_string()))?;
    check_bytes(MESSAGES, &prompt, pair.most_prompt.min(pair.context), pair.longest_token)?;
    let encoded = pair.tokenizer.encode(&prompt).map_err(|error| bad(error.to_string()))?;
    if let Some(announce) = &pair.announce {
        announce.chat(&encoded, &messages, &options).map_err(bad)?;
    }
    Ok(encoded)
}

/// The template's own variables, under `chat_template_kwargs` as in vLLM and SGLang.
fn variables(fields: &RequestFields) -> Result<BTreeMap<String, Value>, Refusal> {
    let Some(value) = fields.get(VARIABLES) else { return Ok(BTreeMap::new()) };
    match value.as_object() {
        Some(variables) => Ok(variables.clone().into_iter().collect()),
        None => Err(wrong(VARIABLES, value, "an object")),
    }
}

/// Refuses messages and variables that spell special tokens: encoded with the template, they
/// would end the message or begin another one.
fn check_plain(
    messages: &[Message],
    variables: &BTreeMap<String, Value>,
    pair: &ServedPair,
) -> Result<(), Refusal> {
    let check = |field, place: &str, text: &str| match pair.tokenizer.special_token_in(text) {
        None => Ok(()),
        Some(token) => Err(Refusal::field(
            field,
            format!(
                "`{place}` spells the special token {token}, which would become a control token; leave it out, or start the server with --allow-special-tokens"
            ),
        )),
    };
    for (i, message) in messages.iter().enumerate() {
        for (part, text) in [("role", &message.role), ("content", &message.content)] {
            check(MESSAGES, &format!("messages[{i}].{part}"), text)?;
        }
    }
    for (name, value) in variables {
        let mut texts = Vec::new();
        texts_in(value, &mut texts);
        for text in texts {
            check(VARIABLES, &format!("{VARIABLES}.{name}"), text)?;
        }
    }
    Ok(())
}

/// All texts in a value, names of fields included.
fn texts_in<'v>(value: &'v Value, texts: &mut Vec<&'v str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(list) => list.iter().for_each(|value| texts_in(value, texts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                texts.push(name);
                texts_in(value, texts);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// One message. Its content is a string or a list of text parts.
fn message(i: usize, value: &Value) -> Result<Message, Refusal> {
    let bad = |fault: &str| Refusal::field(MESSAGES, format!("`messages[{i}]`: {fault}"));
    let Some(role) = value["role"].as_str() else {
        return Err(bad("`role` is missing; expected system, user or assistant"));
    };
    // OpenAI's newer name for the system role; templates know the older one.
    let role = if role == "developer" { "system" } else { role };
    let content = match &value["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .map(|part| part["text"].as_str().filter(|_| part["type"] == "text"))
            .collect::<Option<String>>()
            .ok_or_else(|| {
                bad("`content` holds a part that is not text; this server reads text only")
            })?,
        _ => return Err(bad("`content` is not text; expected a string or a list of text parts")),
    };
    Ok(Message::new(role, &content))
}
