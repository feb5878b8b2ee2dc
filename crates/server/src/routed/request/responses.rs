//! The fields of `/v1/responses`. Each response stands for itself: fields that ask the server to
//! remember, to call tools or to answer in another form than text are refused by name.

use serde_json::Value;
use tokenroute_model::Message;

use crate::net::openai::fields::{RequestFields, wrong};
use crate::net::refusal::Refusal;
use crate::routed::request::limits::check_text_format;
use crate::routed::request::prompt::{Conversation, message};

pub(super) const INPUT: &str = "input";
const INSTRUCTIONS: &str = "instructions";

/// Fields that would keep or read something on the server.
const STATE: [&str; 5] = ["previous_response_id", "conversation", "store", "background", "prompt"];

/// Types of text parts in a message.
const TEXTS: [&str; 3] = ["input_text", "output_text", "text"];

/// Refuses what a stateless server of text cannot do.
pub(super) fn check_stateless(fields: &RequestFields) -> Result<(), Refusal> {
    for name in STATE {
        if !matches!(fields.get(name), None | Some(Value::Bool(false))) {
            let message = format!(
                "`{name}` is not supported: this server keeps no responses; send the whole conversation in `{INPUT}` and leave it out"
            );
            return Err(Refusal::field(name, message));
        }
    }
    let format = fields.object("text")?.and_then(|text| text.get("format"));
    check_text_format("text", format.filter(|format| !format.is_null()))?;
    if fields.text("truncation")?.is_some_and(|how| how != "disabled") {
        let message = "`truncation` must be disabled: a prompt that does not fit is refused";
        return Err(Refusal::field("truncation", message.to_owned()));
    }
    if fields.count("top_logprobs", 0, usize::MAX)?.is_some_and(|top| top > 0) {
        let message = "`top_logprobs` is not supported here; /v1/chat/completions has them";
        return Err(Refusal::field("top_logprobs", message.to_owned()));
    }
    match fields.object("reasoning")? {
        Some(reasoning) if reasoning.values().any(|value| !value.is_null()) => {
            let message = "`reasoning` is not supported; `chat_template_kwargs` sets what the chat template knows";
            Err(Refusal::field("reasoning", message.to_owned()))
        }
        _ => Ok(()),
    }
}

/// The messages: `instructions` as the system's, then those of `input`.
pub(super) fn conversation(fields: &RequestFields) -> Result<Conversation, Refusal> {
    let expected = "a string or a list of messages";
    let Some(value) = fields.get(INPUT) else {
        let message = format!("`{INPUT}` is missing; expected {expected}");
        return Err(Refusal::field(INPUT, message));
    };
    let input = match value {
        Value::String(text) => vec![Message::new("user", text)],
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(i, item)| item_message(i, item))
            .collect::<Result<_, _>>()?,
        _ => return Err(wrong(INPUT, value, expected)),
    };
    if input.is_empty() {
        let message = format!("`{INPUT}` is empty; expected at least one message");
        return Err(Refusal::field(INPUT, message));
    }
    let instructions = fields.text(INSTRUCTIONS)?;
    let mut messages = Vec::from_iter(instructions.map(|text| Message::new("system", text)));
    messages.extend(input);
    let opening = instructions.is_some().then_some(INSTRUCTIONS);
    Ok(Conversation { field: INPUT, opening, messages })
}

fn item_message(i: usize, item: &Value) -> Result<Message, Refusal> {
    match &item["type"] {
        Value::Null => {}
        kind if kind == "message" => {}
        kind => {
            let message = format!(
                "`{INPUT}[{i}]` is an item of type {kind}; this server reads messages of text only"
            );
            return Err(Refusal::field(INPUT, message));
        }
    }
    message(INPUT, &TEXTS, i, item)
}
