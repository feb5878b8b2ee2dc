//! The answers to one request, and what their reply is made of.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokenroute_core::{Sampling, TokenId};

use crate::net::memory::{Reservation, holding};
use crate::net::openai::reply::Stamp;
use crate::net::refusal::Refusal;
use crate::routed::answer::TokenText;
use crate::routed::metrics::{cause_name, origin_name};
use crate::routed::request::{AnswerKind, RoutedRequest};
use crate::routed::running::RunningAnswer;
use crate::routed::shared::Shared;
use crate::routed::ticket::Ticket;
use crate::routed::usage::AnswerUsage;

/// The answers to one request.
pub(crate) struct Answers {
    pub(crate) shared: Arc<Shared>,
    pub(crate) request: RoutedRequest,
    pub(crate) stamp: Stamp,
    /// The answers that are not complete, in order.
    pub(crate) running: VecDeque<RunningAnswer>,
    /// Counts over the complete ones.
    pub(crate) usage: AnswerUsage,
    /// Memory of the reply.
    memory: Reservation,
}

impl Answers {
    /// The answers of these tickets to a request that arrived at `start`, with the memory of
    /// its reply.
    pub(crate) fn new(
        shared: &Arc<Shared>,
        request: RoutedRequest,
        tickets: Vec<Ticket>,
        memory: Reservation,
        start: Instant,
    ) -> Self {
        let stamp = shared.stamp(request.kind.id_prefix());
        let begin = |ticket| RunningAnswer::new(Arc::clone(shared), &request, ticket, start);
        let running = tickets.into_iter().map(begin).collect();
        let (shared, usage) = (Arc::clone(shared), AnswerUsage::default());
        Answers { shared, request, stamp, running, usage, memory }
    }

    /// Counts the first answer, which is complete.
    pub(crate) fn finish_first(&mut self) {
        if let Some(mut done) = self.running.pop_front() {
            self.usage.add(std::mem::take(&mut done.usage));
        }
    }

    /// Counts over the complete answers, in OpenAI's shape.
    pub(crate) fn usage(&self) -> Value {
        self.usage.json(self.request.prompt.len())
    }

    /// Adds the sampling of drawn answers, and a note that τ is measured for greedy ones.
    pub(crate) fn add_sampling(&self, reply: &mut Value) {
        if let Some(sampling) = self.request.policy.sampling {
            reply["sampling"] = json!(sampling);
            reply["note"] = Sampling::NOTE.into();
        }
    }

    /// Sends a whole reply. It holds its memory until then.
    pub(crate) fn send(self, reply: Value) -> Response {
        holding(Json(reply).into_response(), self.memory)
    }

    /// Every token with its origin, score and cause.
    pub(crate) fn origins(&self, tokens: &[TokenText]) -> Result<Value, Refusal> {
        tokens
            .iter()
            .map(|token| self.origin(token))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::from)
    }

    fn origin(&self, TokenText { token, text, .. }: &TokenText) -> Result<Value, Refusal> {
        let mut origin = json!({
            "id": token.token,
            "text": text,
            "origin": origin_name(token.origin),
            "score": self.shared.pair.routed.then_some(token.score),
        });
        if token.slm_token != token.token {
            origin["slm"] = self.spelled(token.slm_token)?.into();
        }
        if token.speculated {
            origin["speculated"] = true.into();
        }
        if let Some(cause) = token.cause {
            origin["cause"] = cause_name(cause).into();
        }
        Ok(origin)
    }

    /// The log-probabilities of tokens in the shape of the request's API, if they are wanted.
    /// An end token has none. `before` is the number of characters of the answer before them.
    pub(crate) fn listed(&self, tokens: &[TokenText], before: usize) -> Result<Value, Refusal> {
        match (self.request.policy.listed, self.request.kind) {
            (None, _) => Ok(Value::Null),
            (Some(_), AnswerKind::Text) => self.lists(tokens, before),
            (Some(_), AnswerKind::Chat | AnswerKind::Response) => self.entries(tokens),
        }
    }

    /// As OpenAI's completions have them: a list for each part.
    fn lists(&self, tokens: &[TokenText], before: usize) -> Result<Value, Refusal> {
        let (mut names, mut own) = (Vec::new(), Vec::new());
        let (mut tops, mut offsets) = (Vec::new(), Vec::new());
        let mut offset = before;
        for TokenText { token, text, listed } in tokens {
            let at = offset;
            offset += text.chars().count();
            let Some(listed) = listed else { continue };
            if self.shared.pair.ends.is_end(token.token) {
                continue;
            }
            let mut top = Map::new();
            for &(id, value) in &listed.top {
                // Tokens of one text share a name; the most probable one has it.
                top.entry(self.spelled(id)?).or_insert_with(|| json!(value));
            }
            names.push(self.spelled(token.token)?);
            own.push(listed.value);
            tops.push(top);
            offsets.push(at);
        }
        Ok(json!({
            "tokens": names, "token_logprobs": own, "top_logprobs": tops, "text_offset": offsets,
        }))
    }

    /// As OpenAI's chats have them: an entry for each token.
    fn entries(&self, tokens: &[TokenText]) -> Result<Value, Refusal> {
        let mut content = Vec::with_capacity(tokens.len());
        for TokenText { token, listed, .. } in tokens {
            let Some(listed) = listed else { continue };
            if self.shared.pair.ends.is_end(token.token) {
                continue;
            }
            let mut entry = self.entry(token.token, listed.value)?;
            let top = listed.top.iter().map(|&(id, value)| self.entry(id, value));
            entry["top_logprobs"] = top.collect::<Result<Vec<_>, _>>()?.into();
            content.push(entry);
        }
        Ok(json!({"content": content, "refusal": null}))
    }

    fn entry(&self, id: TokenId, value: f32) -> Result<Value, Refusal> {
        let text = self.spelled(id)?;
        // Part of a character has no text of its own.
        let bytes = (!text.contains(char::REPLACEMENT_CHARACTER)).then_some(text.as_bytes());
        Ok(json!({"token": text, "logprob": value, "bytes": bytes}))
    }

    fn spelled(&self, id: TokenId) -> Result<String, Refusal> {
        let text = self.shared.pair.tokenizer.token_text(id);
        text.map_err(|error| Refusal::Failed(error.to_string()))
    }
}

/// The text of tokens.
pub(crate) fn text(tokens: &[TokenText]) -> String {
    tokens.iter().map(|token| token.text.as_str()).collect()
}
