//! Replies in OpenAI's shapes, whole and in pieces.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::{Value, json};
use tokenroute_core::Sampling;

use crate::answer::{Finish, Piece};
use crate::metrics::{cause_name, origin_name};
use crate::refusal::Refusal;
use crate::request::Kind;
use crate::running::Running;
use crate::service::Facts;

/// A comment is sent after so long a silence, so that nothing on the way gives up.
const SILENCE: Duration = Duration::from_secs(10);

/// The reply in one piece.
pub(crate) async fn whole(mut running: Running) -> Result<Response, Refusal> {
    let mut pieces = Vec::new();
    let finish = loop {
        let (more, finish) = running.next().await?;
        pieces.extend(more);
        if let Some(finish) = finish {
            break finish;
        }
    };
    let said = text(&pieces);
    let choice = match running.plan.kind {
        Kind::Chat => json!({
            "index": 0, "message": {"role": "assistant", "content": said, "refusal": null},
            "logprobs": null, "finish_reason": finish.word(),
        }),
        Kind::Text => json!({
            "index": 0, "text": said, "logprobs": null, "finish_reason": finish.word(),
        }),
    };
    let mut reply = frame(&running, false, &[choice]);
    note(&mut reply, &running);
    reply["usage"] = running.tally.json(running.plan.prompt.len());
    if running.plan.tokens {
        reply["tokenroute"] = told(&running.inner.facts, &pieces)?;
    }
    Ok(Json(reply).into_response())
}

/// The reply as server-sent events.
pub(crate) fn streamed(running: Running) -> Response {
    let mut queue = VecDeque::new();
    if running.plan.kind == Kind::Chat {
        queue.push_back(chunk(&running, &json!({"role": "assistant", "content": ""}), None));
    }
    let start = Stream { running, queue, over: false };
    let stream = stream::unfold(start, async |mut stream| {
        let data = stream.next().await?;
        Some((Ok::<_, Infallible>(Event::default().data(data)), stream))
    });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(SILENCE)).into_response()
}

struct Stream {
    running: Running,
    /// Made and not sent yet.
    queue: VecDeque<Value>,
    over: bool,
}

impl Stream {
    /// The next event's data; `None` after the last.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(data) = self.queue.pop_front() {
                return Some(match data {
                    Value::String(mark) => mark,
                    data => data.to_string(),
                });
            }
            if self.over {
                return None;
            }
            if let Err(refusal) = self.fill().await {
                self.over = true;
                self.queue.push_back(refusal.json());
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Refusal> {
        let (pieces, finish) = self.running.next().await?;
        let (plan, said) = (&self.running.plan, text(&pieces));
        if !said.is_empty() || (plan.tokens && !pieces.is_empty()) {
            let delta = match plan.kind {
                Kind::Chat => json!({"content": said}),
                Kind::Text => Value::String(said),
            };
            let mut chunk = chunk(&self.running, &delta, None);
            if plan.tokens {
                chunk["tokenroute"] = told(&self.running.inner.facts, &pieces)?;
            }
            self.queue.push_back(chunk);
        }
        let Some(finish) = finish else { return Ok(()) };
        let nothing = match plan.kind {
            Kind::Chat => json!({}),
            Kind::Text => Value::String(String::new()),
        };
        let mut end = chunk(&self.running, &nothing, Some(finish));
        note(&mut end, &self.running);
        self.queue.push_back(end);
        if plan.usage {
            let mut last = frame(&self.running, true, &[]);
            last["usage"] = self.running.tally.json(plan.prompt.len());
            self.queue.push_back(last);
        }
        self.queue.push_back("[DONE]".into());
        self.over = true;
        Ok(())
    }
}

/// One chunk of a stream with what is new in the choice.
fn chunk(running: &Running, new: &Value, finish: Option<Finish>) -> Value {
    let field = match running.plan.kind {
        Kind::Chat => "delta",
        Kind::Text => "text",
    };
    let finish = finish.map(Finish::word);
    let choice = json!({"index": 0, field: new, "logprobs": null, "finish_reason": finish});
    let mut chunk = frame(running, true, &[choice]);
    if running.plan.usage {
        chunk["usage"] = Value::Null;
    }
    chunk
}

/// What surrounds choices.
fn frame(running: &Running, piece: bool, choices: &[Value]) -> Value {
    let object = match (running.plan.kind, piece) {
        (Kind::Chat, false) => "chat.completion",
        (Kind::Chat, true) => "chat.completion.chunk",
        (Kind::Text, _) => "text_completion",
    };
    json!({
        "id": running.id, "object": object, "created": running.created,
        "model": running.inner.facts.name, "choices": choices,
    })
}

/// Says of an answer that was drawn how, and what does not hold for it.
fn note(reply: &mut Value, running: &Running) {
    if let Some(sampling) = running.plan.policy.sampling {
        reply["sampling"] = json!(sampling);
        reply["note"] = Sampling::NOTE.into();
    }
}

fn text(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

/// A number by its own shortest text: 0.9932, and not the f64 beside it. Read as an f64 and
/// rounded it is the same f32, and greater numbers stay greater.
pub(crate) fn shortest(number: f32) -> Value {
    number.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

/// Every token with who made it and why.
fn told(facts: &Facts, pieces: &[Piece]) -> Result<Value, Refusal> {
    pieces.iter().map(|piece| tell(facts, piece)).collect::<Result<Vec<_>, _>>().map(Value::from)
}

fn tell(facts: &Facts, piece: &Piece) -> Result<Value, Refusal> {
    let token = &piece.token;
    let mut told = json!({
        "id": token.token,
        "text": piece.text,
        "origin": origin_name(token.origin),
        "score": facts.routed.then(|| shortest(token.score)),
    });
    if token.slm_token != token.token {
        let slm = facts.tokenizer.token_text(token.slm_token);
        told["slm"] = slm.map_err(|error| Refusal::Failed(error.to_string()))?.into();
    }
    if token.speculated {
        told["speculated"] = true.into();
    }
    if let Some(cause) = token.cause {
        told["cause"] = cause_name(cause).into();
    }
    Ok(told)
}
