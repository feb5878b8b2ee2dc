//! Prompts: a text, token ids, or messages through the chat template.

use std::collections::BTreeMap;

use serde_json::Value;
use tokenroute_core::TokenId;
use tokenroute_model::{ChatOptions, Message, Tokenizer};

use crate::net::memory::Room;
use crate::net::openai::fields::{RequestFields, wrong};
use crate::net::openai::request::{PROMPT, Prompt, check_bytes, prompts};
use crate::net::refusal::Refusal;
use crate::routed::served::ServedPair;

pub(super) const MESSAGES: &str = "messages";
const VARIABLES: &str = "chat_template_kwargs";

pub(super) fn text_prompt(
    fields: &RequestFields,
    pair: &ServedPair,
    room: &Room,
) -> Result<Vec<TokenId>, Refusal> {
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
            let _held = room.reserve(Tokenizer::memory(text))?;
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

/// Messages as a request names them.
pub(super) struct Conversation {
    /// The field that holds them.
    pub(super) field: &'static str,
    /// The first message's text comes from this field instead.
    pub(super) opening: Option<&'static str>,
    pub(super) messages: Vec<Message>,
}

impl Conversation {
    /// The place of a message's part in the request.
    fn place(&self, i: usize, part: &str) -> String {
        match self.opening {
            Some(opening) if i == 0 => opening.to_owned(),
            opening => format!("{}[{}].{part}", self.field, i - usize::from(opening.is_some())),
        }
    }
}

/// The messages of a chat.
pub(super) fn chat(fields: &RequestFields) -> Result<Conversation, Refusal> {
    let bad = |message| Refusal::field(MESSAGES, message);
    let Some(value) = fields.get(MESSAGES) else {
        return Err(bad("`messages` is missing; expected a list of messages".to_owned()));
    };
    let list = value.as_array().ok_or_else(|| wrong(MESSAGES, value, "a list of messages"))?;
    let messages: Vec<Message> = list
        .iter()
        .enumerate()
        .map(|(i, m)| message(MESSAGES, &["text"], i, m))
        .collect::<Result<_, _>>()?;
    if messages.is_empty() {
        return Err(bad("`messages` is empty; expected at least one message".to_owned()));
    }
    Ok(Conversation { field: MESSAGES, opening: None, messages })
}

pub(super) fn chat_prompt(
    conversation: &Conversation,
    fields: &RequestFields,
    pair: &ServedPair,
    room: &Room,
) -> Result<Vec<TokenId>, Refusal> {
    let field = conversation.field;
    let bad = |message| Refusal::field(field, message);
    let Some(template) = &pair.template else {
        let name = &pair.name;
        return Err(bad(format!(
            "{name} has no chat template; use /v1/completions, or give the model's folder a chat_template.jinja"
        )));
    };
    let options = ChatOptions { variables: variables(fields)?, ..ChatOptions::default() };
    if let Some(name) = options.reserved_variable() {
        let message =
            format!("`{VARIABLES}` sets `{name}`, which the server sets itself; leave it out");
        return Err(Refusal::field(VARIABLES, message));
    }
    if !pair.allow_special_tokens {
        check_plain(conversation, &options.variables, pair)?;
    }
    let messages = &conversation.messages;
    let prompt = template.render(messages, &options).map_err(|error| bad(error.to_string()))?;
    check_bytes(field, &prompt, pair.most_prompt.min(pair.context), pair.longest_token)?;
    let _held = room.reserve(Tokenizer::memory(&prompt))?;
    let encoded = pair.tokenizer.encode(&prompt).map_err(|error| bad(error.to_string()))?;
    if let Some(announce) = &pair.announce {
        announce.chat(&encoded, messages, &options).map_err(bad)?;
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
    conversation: &Conversation,
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
    for (i, message) in conversation.messages.iter().enumerate() {
        for (part, text) in [("role", &message.role), ("content", &message.content)] {
            check(conversation.field, &conversation.place(i, part), text)?;
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

/// The message number `i` of a field. Its content is a string or a list of text parts, of one
/// of these types.
pub(super) fn message(
    field: &'static str,
    types: &[&str],
    i: usize,
    value: &Value,
) -> Result<Message, Refusal> {
    let bad = |fault: &str| Refusal::field(field, format!("`{field}[{i}]`: {fault}"));
    let Some(role) = value["role"].as_str() else {
        return Err(bad("`role` is missing; expected system, user or assistant"));
    };
    // OpenAI's newer name for the system role; templates know the older one.
    let role = if role == "developer" { "system" } else { role };
    let is_text = |part: &Value| types.iter().any(|&name| part["type"] == name);
    let content = match &value["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .map(|part| part["text"].as_str().filter(|_| is_text(part)))
            .collect::<Option<String>>()
            .ok_or_else(|| {
                bad("`content` holds a part that is not text; this server reads text only")
            })?,
        _ => return Err(bad("`content` is not text; expected a string or a list of text parts")),
    };
    Ok(Message::new(role, &content))
}
