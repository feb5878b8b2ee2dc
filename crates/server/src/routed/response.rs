//! Replies in the shape of OpenAI's responses API, whole and as a stream of named events.

use std::collections::VecDeque;

use axum::response::Response;
use serde_json::{Value, json};

use crate::net::openai::events::{EventData, Events, streamed};
use crate::net::openai::reply::Finish;
use crate::net::refusal::Refusal;
use crate::routed::answers::{Answers, text};

/// The reply, whole or in events as the request asks.
pub(crate) async fn response(answers: Answers) -> Result<Response, Refusal> {
    if answers.request.stream { Ok(events(answers)) } else { whole(answers).await }
}

async fn whole(mut answers: Answers) -> Result<Response, Refusal> {
    let running = answers.running.front_mut().ok_or(Refusal::WorkerEnded)?;
    let (tokens, finish) = running.rest().await?;
    answers.finish_first();
    let mut reply = object(&answers, Some((&text(&tokens), finish)));
    if answers.request.tokens {
        reply["tokenroute"] = answers.origins(&tokens)?;
    }
    Ok(answers.send(reply))
}

/// OpenAI's word for how far a response or its message is.
fn status(finish: Option<Finish>) -> &'static str {
    match finish {
        None => "in_progress",
        Some(Finish::Stop) => "completed",
        Some(Finish::Length) => "incomplete",
    }
}

/// The response; `done` is its text and the reason for its end.
fn object(answers: &Answers, done: Option<(&str, Finish)>) -> Value {
    let (request, stamp) = (&answers.request, &answers.stamp);
    let finish = done.map(|(_, finish)| finish);
    let output: Vec<Value> =
        done.iter().map(|&(text, finish)| message(answers, text, Some(finish))).collect();
    let sampling = request.policy.sampling;
    let cut = (finish == Some(Finish::Length)).then(|| json!({"reason": "max_output_tokens"}));
    let mut reply = json!({
        "id": stamp.id(),
        "object": "response",
        "created_at": stamp.created(),
        "status": status(finish),
        "error": null,
        "incomplete_details": cut,
        "instructions": null,
        "max_output_tokens": request.max_tokens,
        "model": answers.shared.pair.name,
        "output": output,
        "parallel_tool_calls": false,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "store": false,
        "temperature": sampling.map_or(0.0, |sampling| sampling.temperature()),
        "text": {"format": {"type": "text"}},
        "tool_choice": "none",
        "tools": [],
        "top_p": sampling.map_or(1.0, |sampling| sampling.top_p()),
        "truncation": "disabled",
        "usage": null,
        "metadata": {},
    });
    answers.add_sampling(&mut reply);
    if done.is_some() {
        let (prompt, made) = (request.prompt.len(), answers.usage.made());
        reply["usage"] = json!({
            "input_tokens": prompt, "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": made, "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + made, "tokenroute": answers.usage.routing(),
        });
    }
    reply
}

/// The response's one output item.
fn message(answers: &Answers, text: &str, finish: Option<Finish>) -> Value {
    let content: Vec<Value> = finish.iter().map(|_| part(text)).collect();
    json!({
        "type": "message", "id": message_id(answers), "status": status(finish),
        "role": "assistant", "content": content,
    })
}

fn message_id(answers: &Answers) -> String {
    format!("msg-{}", answers.stamp.id())
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn events(answers: Answers) -> Response {
    let (number, queue) = (0, VecDeque::new());
    let mut events = ResponseEvents { answers, text: String::new(), number, queue, over: false };
    events.begin();
    streamed(events)
}

/// A response as a stream of events.
struct ResponseEvents {
    answers: Answers,
    /// Text so far.
    text: String,
    /// Number of the next event.
    number: usize,
    queue: VecDeque<EventData>,
    over: bool,
}

impl Events for ResponseEvents {
    async fn next(&mut self) -> Option<EventData> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            if let Err(refusal) = self.fill().await {
                self.over = true;
                let error = refusal.json()["error"].take();
                let (message, param) = (&error["message"], &error["param"]);
                let code = if error["code"].is_null() { &error["type"] } else { &error["code"] };
                self.push("error", json!({"code": code, "message": message, "param": param}));
            }
        }
    }
}

impl ResponseEvents {
    /// Queues an event with its name and number.
    fn push(&mut self, name: &'static str, mut event: Value) {
        event["type"] = name.into();
        event["sequence_number"] = self.number.into();
        self.number += 1;
        self.queue.push_back(EventData { name: Some(name), data: event.to_string() });
    }

    /// Queues an event about the text part of the message.
    fn push_part(&mut self, name: &'static str, mut event: Value) {
        event["item_id"] = message_id(&self.answers).into();
        event["output_index"] = 0.into();
        event["content_index"] = 0.into();
        self.push(name, event);
    }

    fn begin(&mut self) {
        let begun = json!({"response": object(&self.answers, None)});
        self.push("response.created", begun.clone());
        self.push("response.in_progress", begun);
        let item = message(&self.answers, "", None);
        self.push("response.output_item.added", json!({"output_index": 0, "item": item}));
        self.push_part("response.content_part.added", json!({"part": part("")}));
    }

    /// Queues the events for the next tokens.
    async fn fill(&mut self) -> Result<(), Refusal> {
        let running = self.answers.running.front_mut().ok_or(Refusal::WorkerEnded)?;
        let (tokens, finish) = running.next().await?;
        let new = text(&tokens);
        let shows = self.answers.request.tokens && !tokens.is_empty();
        if !new.is_empty() || shows {
            self.text += &new;
            let mut delta = json!({"delta": new, "logprobs": []});
            if shows {
                delta["tokenroute"] = self.answers.origins(&tokens)?;
            }
            self.push_part("response.output_text.delta", delta);
        }
        if let Some(finish) = finish {
            self.finish(finish);
        }
        Ok(())
    }

    /// Queues the last events.
    fn finish(&mut self, finish: Finish) {
        self.answers.finish_first();
        let text = std::mem::take(&mut self.text);
        self.push_part("response.output_text.done", json!({"text": text, "logprobs": []}));
        self.push_part("response.content_part.done", json!({"part": part(&text)}));
        let item = message(&self.answers, &text, Some(finish));
        self.push("response.output_item.done", json!({"output_index": 0, "item": item}));
        let name = match finish {
            Finish::Stop => "response.completed",
            Finish::Length => "response.incomplete",
        };
        let reply = object(&self.answers, Some((&text, finish)));
        self.push(name, json!({"response": reply}));
        self.over = true;
    }
}
