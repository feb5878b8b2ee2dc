//! Parts of replies in OpenAI's shapes.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// An end token, or a stop string.
    Stop,
    /// The limit of tokens.
    Length,
}

impl Finish {
    /// OpenAI's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
        }
    }
}

/// Identifies one reply.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    id: String,
    /// Seconds since 1970.
    created: u64,
}

impl Stamp {
    /// A stamp for now. `prefix` is OpenAI's for the kind of reply; `number` tells the
    /// server's replies apart.
    pub(crate) fn now(prefix: &str, number: u64) -> Stamp {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Stamp { id: format!("{prefix}-{created}-{number}"), created }
    }

    /// The reply's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// When it was made, in seconds since 1970.
    pub(crate) fn created(&self) -> u64 {
        self.created
    }
}

/// A reply, or one chunk of it, around its choices. `object` is OpenAI's name for it.
pub(crate) fn frame(object: &str, stamp: &Stamp, model: &str, choices: &[Value]) -> Value {
    json!({
        "id": stamp.id, "object": object, "created": stamp.created, "model": model,
        "choices": choices,
    })
}

/// Tokens of the prompt and of the answer.
pub(crate) fn usage(prompt: usize, made: usize) -> Value {
    json!({
        "prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made,
    })
}

/// A model as `/v1/models` lists it. `context` is in tokens.
pub(crate) fn model(id: &str, context: usize) -> Value {
    json!({
        "id": id, "object": "model", "created": 0, "owned_by": "tokenroute",
        "max_model_len": context,
    })
}

/// The reply of `/v1/models`.
pub(crate) fn models(model: &Value) -> Value {
    json!({"object": "list", "data": [model]})
}
