//! Replies in OpenAI's shapes, whole and in chunks.

use std::collections::VecDeque;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokenroute_core::Sampling;

use crate::net::memory::holding;
use crate::net::openai::events::{DONE, Events, streamed};
use crate::net::openai::reply::{Finish, frame};
use crate::net::refusal::Refusal;
use crate::routed::answer::TokenText;
use crate::routed::metrics::{cause_name, origin_name};
use crate::routed::request::AnswerKind;
use crate::routed::running::RunningAnswer;
use crate::routed::served::ServedPair;

/// The reply, whole or in chunks as the request asks.
pub(crate) async fn reply(running: RunningAnswer) -> Result<Response, Refusal> {
    if running.request.stream { Ok(chunks(running)) } else { whole(running).await }
}

async fn whole(mut running: RunningAnswer) -> Result<Response, Refusal> {
    let mut tokens = Vec::new();
    let finish = loop {
        let (more, finish) = running.next().await?;
        tokens.extend(more);
        if let Some(finish) = finish {
            break finish;
        }
    };
    let text = text(&tokens);
    let choice = match running.request.kind {
        AnswerKind::Chat => json!({
            "index": 0, "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": null, "finish_reason": finish.name(),
        }),
        AnswerKind::Text => json!({
            "index": 0, "text": text, "logprobs": null, "finish_reason": finish.name(),
        }),
    };
    let mut reply = framed(&running, false, &[choice]);
    add_sampling(&mut reply, &running);
    reply["usage"] = running.usage.json(running.request.prompt.len());
    if running.request.tokens {
        reply["tokenroute"] = origins(&running.shared.pair, &tokens)?;
    }
    let reply = Json(reply).into_response();
    Ok(match running.take_memory() {
        Some(memory) => holding(reply, memory),
        None => reply,
    })
}

fn chunks(running: RunningAnswer) -> Response {
    let mut queue = VecDeque::new();
    if running.request.kind == AnswerKind::Chat {
        let role = json!({"role": "assistant", "content": ""});
        queue.push_back(chunk(&running, &role, None).to_string());
    }
    streamed(Chunks { running, queue, over: false })
}

/// A reply in chunks: one for the tokens that are there, one for the end, one for usage.
struct Chunks {
    running: RunningAnswer,
    /// Data to send.
    queue: VecDeque<String>,
    over: bool,
}

impl Events for Chunks {
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(data) = self.queue.pop_front() {
                return Some(data);
            }
            if self.over {
                return None;
            }
            if let Err(refusal) = self.fill().await {
                self.over = true;
                self.queue.push_back(refusal.json().to_string());
            }
        }
    }
}

impl Chunks {
    fn push(&mut self, chunk: &Value) {
        self.queue.push_back(chunk.to_string());
    }

    /// Queues the chunks for the next tokens.
    async fn fill(&mut self) -> Result<(), Refusal> {
        let (tokens, finish) = self.running.next().await?;
        let (request, text) = (&self.running.request, text(&tokens));
        if !text.is_empty() || (request.tokens && !tokens.is_empty()) {
            let new = match request.kind {
                AnswerKind::Chat => json!({"content": text}),
                AnswerKind::Text => Value::String(text),
            };
            let mut chunk = chunk(&self.running, &new, None);
            if request.tokens {
                chunk["tokenroute"] = origins(&self.running.shared.pair, &tokens)?;
            }
            self.push(&chunk);
        }
        if let Some(finish) = finish {
            self.finish(finish);
        }
        Ok(())
    }

    /// Queues the last chunks.
    fn finish(&mut self, finish: Finish) {
        let nothing = match self.running.request.kind {
            AnswerKind::Chat => json!({}),
            AnswerKind::Text => Value::String(String::new()),
        };
        let mut end = chunk(&self.running, &nothing, Some(finish));
        add_sampling(&mut end, &self.running);
        self.push(&end);
        if self.running.request.usage {
            let mut last = framed(&self.running, true, &[]);
            last["usage"] = self.running.usage.json(self.running.request.prompt.len());
            self.push(&last);
        }
        self.queue.push_back(DONE.to_owned());
        self.over = true;
    }
}

/// One chunk of a stream, with the new part of the choice.
fn chunk(running: &RunningAnswer, new: &Value, finish: Option<Finish>) -> Value {
    let field = match running.request.kind {
        AnswerKind::Chat => "delta",
        AnswerKind::Text => "text",
    };
    let finish = finish.map(Finish::name);
    let choice = json!({"index": 0, field: new, "logprobs": null, "finish_reason": finish});
    let mut chunk = framed(running, true, &[choice]);
    if running.request.usage {
        chunk["usage"] = Value::Null;
    }
    chunk
}

/// The frame around choices.
fn framed(running: &RunningAnswer, is_chunk: bool, choices: &[Value]) -> Value {
    let object = match (running.request.kind, is_chunk) {
        (AnswerKind::Chat, false) => "chat.completion",
        (AnswerKind::Chat, true) => "chat.completion.chunk",
        (AnswerKind::Text, _) => "text_completion",
    };
    frame(object, &running.stamp, &running.shared.pair.name, choices)
}

/// Adds the sampling of a drawn answer, and a note that τ is measured for greedy ones.
fn add_sampling(reply: &mut Value, running: &RunningAnswer) {
    if let Some(sampling) = running.request.policy.sampling {
        reply["sampling"] = json!(sampling);
        reply["note"] = Sampling::NOTE.into();
    }
}

fn text(tokens: &[TokenText]) -> String {
    tokens.iter().map(|token| token.text.as_str()).collect()
}

/// Every token with its origin, score and cause.
fn origins(pair: &ServedPair, tokens: &[TokenText]) -> Result<Value, Refusal> {
    tokens.iter().map(|token| origin(pair, token)).collect::<Result<Vec<_>, _>>().map(Value::from)
}

fn origin(pair: &ServedPair, TokenText { token, text }: &TokenText) -> Result<Value, Refusal> {
    let mut origin = json!({
        "id": token.token,
        "text": text,
        "origin": origin_name(token.origin),
        "score": pair.routed.then_some(token.score),
    });
    if token.slm_token != token.token {
        let slm = pair.tokenizer.token_text(token.slm_token);
        origin["slm"] = slm.map_err(|error| Refusal::Failed(error.to_string()))?.into();
    }
    if token.speculated {
        origin["speculated"] = true.into();
    }
    if let Some(cause) = token.cause {
        origin["cause"] = cause_name(cause).into();
    }
    Ok(origin)
}
