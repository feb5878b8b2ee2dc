//! One message to a chat server, and its reply: how a judge is asked.

use serde::Deserialize;
use serde_json::json;
use tokenroute_core::LlmError;

use super::Http;
use super::client::after;
use super::transport::Counters;
use super::wire::{bad, parse};

/// Most bytes of a reply.
const REPLY: usize = 1 << 20;

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

impl Http {
    /// Sends one message to `/v1/chat/completions` and returns the reply's text. The model is asked
    /// for its most probable tokens, at most `tokens` of them.
    ///
    /// # Errors
    /// A server that cannot be asked, refuses, or replies without a text.
    pub fn chat(&self, message: &str, tokens: usize) -> Result<String, LlmError> {
        self.persist(after(self.config().total), |deadline| {
            let body = json!({
                "model": self.server_within(deadline)?.model, "temperature": 0, "max_tokens": tokens,
                "messages": [{"role": "user", "content": message}],
            });
            let (body, path) = (body.to_string(), "/v1/chat/completions");
            let bill = Counters::default();
            self.transport().exchange(path, Some(body.as_bytes()), REPLY, deadline, &bill, read)
        })
    }
}

fn read(bytes: &[u8]) -> Result<String, LlmError> {
    let found: Completion = parse(bytes)?;
    match found.choices.into_iter().next().and_then(|choice| choice.message.content) {
        Some(text) => Ok(text),
        None => bad("a reply without a text; expected choices[0].message.content".to_owned()),
    }
}
