//! Replies in the shapes of OpenAI's chat and completions APIs, whole and in chunks.

use std::collections::VecDeque;

use axum::response::Response;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::net::openai::events::{DONE, EventData, Events, streamed};
use crate::net::openai::reply::{Finish, frame};
use crate::net::refusal::Refusal;
use crate::routed::answer::TokenText;
use crate::routed::answers::{Answers, text};
use crate::routed::request::AnswerKind;
use crate::routed::running::RunningAnswer;

/// The reply, whole or in chunks as the request asks.
pub(crate) async fn reply(answers: Answers) -> Result<Response, Refusal> {
    if answers.request.stream { Ok(chunks(answers)) } else { whole(answers).await }
}

async fn whole(mut answers: Answers) -> Result<Response, Refusal> {
    // All at once: a stop string ends its answer when it comes.
    let all = try_join_all(answers.running.iter_mut().map(RunningAnswer::rest)).await?;
    let (mut choices, mut origins) = (Vec::with_capacity(all.len()), None);
    for (index, (tokens, finish)) in all.into_iter().enumerate() {
        choices.push(choice(&answers, index, &tokens, finish)?);
        if answers.request.tokens {
            origins = Some(answers.origins(&tokens)?);
        }
        answers.finish_first();
    }
    let mut reply = framed(&answers, false, &choices);
    answers.add_sampling(&mut reply);
    reply["usage"] = answers.usage();
    if let Some(origins) = origins {
        reply["tokenroute"] = origins;
    }
    Ok(answers.send(reply))
}

fn choice(
    answers: &Answers,
    index: usize,
    tokens: &[TokenText],
    finish: Finish,
) -> Result<Value, Refusal> {
    let (text, finish) = (text(tokens), finish.name());
    let listed = answers.listed(tokens, 0)?;
    Ok(match answers.request.kind {
        AnswerKind::Text => {
            json!({"index": index, "text": text, "logprobs": listed, "finish_reason": finish})
        }
        AnswerKind::Chat | AnswerKind::Response => json!({
            "index": index, "message": {"role": "assistant", "content": text, "refusal": null},
            "logprobs": listed, "finish_reason": finish,
        }),
    })
}

fn chunks(answers: Answers) -> Response {
    let queue = VecDeque::new();
    let mut chunks = Chunks { answers, index: 0, sent: 0, queue, over: false };
    chunks.begin();
    streamed(chunks)
}

/// A reply in chunks, one answer after the other: a chunk for the tokens that are there, one
/// for the end of each, one for usage.
struct Chunks {
    answers: Answers,
    /// The answer whose tokens are being sent.
    index: usize,
    /// Characters of it that were sent.
    sent: usize,
    /// Data to send.
    queue: VecDeque<String>,
    over: bool,
}

impl Events for Chunks {
    async fn next(&mut self) -> Option<EventData> {
        loop {
            if let Some(data) = self.queue.pop_front() {
                return Some(data.into());
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

    /// Queues the chunk that begins an answer.
    fn begin(&mut self) {
        if self.answers.request.kind == AnswerKind::Chat {
            let role = json!({"role": "assistant", "content": ""});
            self.push(&self.chunk(&role, &Value::Null, None));
        }
    }

    /// Queues the chunks for the next tokens.
    async fn fill(&mut self) -> Result<(), Refusal> {
        let Some(running) = self.answers.running.front_mut() else {
            self.end();
            return Ok(());
        };
        let (tokens, finish) = running.next().await?;
        let (request, text) = (&self.answers.request, text(&tokens));
        let listed = self.answers.listed(&tokens, self.sent)?;
        let sent = text.chars().count();
        let shows = request.tokens || request.policy.listed.is_some();
        if !text.is_empty() || (shows && !tokens.is_empty()) {
            let new = match request.kind {
                AnswerKind::Text => Value::String(text),
                AnswerKind::Chat | AnswerKind::Response => json!({"content": text}),
            };
            let mut chunk = self.chunk(&new, &listed, None);
            if request.tokens {
                chunk["tokenroute"] = self.answers.origins(&tokens)?;
            }
            self.push(&chunk);
        }
        self.sent += sent;
        if let Some(finish) = finish {
            self.finish(finish);
        }
        Ok(())
    }

    /// Queues the last chunk of an answer.
    fn finish(&mut self, finish: Finish) {
        let nothing = match self.answers.request.kind {
            AnswerKind::Text => Value::String(String::new()),
            AnswerKind::Chat | AnswerKind::Response => json!({}),
        };
        let mut end = self.chunk(&nothing, &Value::Null, Some(finish));
        self.answers.add_sampling(&mut end);
        self.push(&end);
        self.answers.finish_first();
        (self.index, self.sent) = (self.index + 1, 0);
        if self.answers.running.is_empty() {
            self.end();
        } else {
            self.begin();
        }
    }

    /// Queues the end of the stream.
    fn end(&mut self) {
        if self.answers.request.usage {
            let mut last = framed(&self.answers, true, &[]);
            last["usage"] = self.answers.usage();
            self.push(&last);
        }
        self.queue.push_back(DONE.to_owned());
        self.over = true;
    }

    /// One chunk, with the new part of the choice.
    fn chunk(&self, new: &Value, listed: &Value, finish: Option<Finish>) -> Value {
        let field = match self.answers.request.kind {
            AnswerKind::Text => "text",
            AnswerKind::Chat | AnswerKind::Response => "delta",
        };
        let (index, finish) = (self.index, finish.map(Finish::name));
        let choice =
            json!({"index": index, field: new, "logprobs": listed, "finish_reason": finish});
        let mut chunk = framed(&self.answers, true, &[choice]);
        if self.answers.request.usage {
            chunk["usage"] = Value::Null;
        }
        chunk
    }
}

/// The frame around choices.
fn framed(answers: &Answers, is_chunk: bool, choices: &[Value]) -> Value {
    let object = match (answers.request.kind, is_chunk) {
        (AnswerKind::Text, _) => "text_completion",
        (AnswerKind::Chat | AnswerKind::Response, false) => "chat.completion",
        (AnswerKind::Chat | AnswerKind::Response, true) => "chat.completion.chunk",
    };
    frame(object, &answers.stamp, &answers.shared.pair.name, choices)
}
