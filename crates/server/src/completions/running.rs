//! A request whose prompts are in the batch: their events become a reply, whole or in
//! chunks.

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokenroute_core::TokenId;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::completions::model::ServedModel;
use crate::completions::reply::{ChoiceSoFar, completion, usage};
use crate::completions::request::CompletionRequest;
use crate::completions::sequence::{NewSequence, SequenceEvent};
use crate::net::memory::{Reservation, holding};
use crate::net::openai::events::{DONE, EventData, Events};
use crate::net::openai::reply::{Finish, Stamp};
use crate::net::refusal::Refusal;

/// Bytes of a request that take as long to read as a token to spell.
const SPELLED_BYTES: usize = 16;

/// A request whose prompts are in the batch.
pub(crate) struct RunningCompletion {
    pub(crate) request: CompletionRequest,
    model: Arc<ServedModel>,
    stamp: Stamp,
    /// The events of each prompt.
    events: Vec<UnboundedReceiver<SequenceEvent>>,
    /// Memory of the reply.
    memory: Reservation,
}

impl RunningCompletion {
    /// Queues the prompts of a request.
    pub(crate) fn begin(
        model: Arc<ServedModel>,
        request: CompletionRequest,
    ) -> Result<Self, Refusal> {
        let memory = model.memory.reserve(request.reply_bytes(&model))?;
        // All sequences have their memory before the first one begins.
        let bytes = |prompt: &Vec<TokenId>| request.sequence_bytes(prompt, &model);
        let all: Vec<usize> = request.prompts.iter().map(bytes).collect();
        let mut whole = model.memory.reserve(all.iter().fold(0, |sum, n| n.saturating_add(sum)))?;
        let mut receivers = Vec::with_capacity(request.prompts.len());
        for (prompt, bytes) in request.prompts.iter().zip(all) {
            let (events, receiver) = unbounded_channel();
            let new = NewSequence {
                prompt: prompt.clone(),
                max_tokens: request.max_tokens,
                sampling: request.sampling,
                top: request.top,
                prompt_top: request.prompt_top,
                events,
                memory: whole.part(bytes),
            };
            model.batcher.submit(new)?;
            receivers.push(receiver);
        }
        let stamp = model.stamp();
        Ok(RunningCompletion { request, model, stamp, events: receivers, memory })
    }

    /// Choice number `at` in OpenAI's shape, with its tokens from `from` on and their text.
    fn choice(
        &self,
        at: usize,
        choice: &ChoiceSoFar,
        from: usize,
        text: &str,
    ) -> Result<Value, Refusal> {
        choice.json(at, &self.request, from, text, &*self.model.texts)
    }

    fn completion(&self, choices: &[Value]) -> Value {
        completion(&self.stamp, &self.model.name, choices)
    }
}

/// Adds one event to a choice; a failure ends the reply.
fn take(choice: &mut ChoiceSoFar, event: Option<SequenceEvent>) -> Result<(), Refusal> {
    match event {
        Some(SequenceEvent::Started { cached }) => choice.cached = cached,
        Some(SequenceEvent::Prompt(scored)) => choice.prompt.push(scored),
        Some(SequenceEvent::Token(scored)) => choice.tokens.push(scored),
        Some(SequenceEvent::Done { ended }) => {
            choice.finish = Some(if ended { Finish::Stop } else { Finish::Length });
        }
        Some(SequenceEvent::Failed(message)) => return Err(Refusal::Failed(message)),
        None => return Err(Refusal::WorkerEnded),
    }
    Ok(())
}

/// The reply in one piece.
pub(crate) async fn whole(mut running: RunningCompletion) -> Result<Response, Refusal> {
    let mut choices = Vec::with_capacity(running.events.len());
    for events in &mut running.events {
        let mut choice = ChoiceSoFar::default();
        while choice.finish.is_none() {
            take(&mut choice, events.recv().await)?;
        }
        choices.push(choice);
    }
    // A token is spelled about as fast as these bytes of a request are read.
    let echoed = running.request.prompts.iter().map(Vec::len).filter(|_| running.request.echo);
    let bytes = echoed.sum::<usize>().saturating_mul(SPELLED_BYTES);
    let reading = running.model.reading.clone();
    reading.run(bytes, move || shaped(running, &choices)).await
}

/// The reply with all choices.
fn shaped(running: RunningCompletion, choices: &[ChoiceSoFar]) -> Result<Response, Refusal> {
    let mut shaped = Vec::with_capacity(choices.len());
    for (at, choice) in choices.iter().enumerate() {
        let text = choice.text(&*running.model.texts)?;
        shaped.push(running.choice(at, choice, 0, &text)?);
    }
    let mut reply = running.completion(&shaped);
    reply["usage"] = usage(&running.request.prompts, choices);
    Ok(holding(Json(reply).into_response(), running.memory))
}

/// A reply in chunks: one for each token and one at each end, one prompt after the other.
struct Chunks {
    running: RunningCompletion,
    /// The prompt whose tokens are being sent, and its choice so far.
    at: usize,
    choice: ChoiceSoFar,
    /// Tokens and bytes of text of it that were sent.
    sent: (usize, usize),
    over: bool,
}

/// The reply in chunks.
pub(crate) fn chunks(running: RunningCompletion) -> impl Events {
    Chunks { running, at: 0, choice: ChoiceSoFar::default(), sent: (0, 0), over: false }
}

impl Events for Chunks {
    async fn next(&mut self) -> Option<EventData> {
        while !self.over {
            let Some(events) = self.running.events.get_mut(self.at) else {
                self.over = true;
                return Some(DONE.to_owned().into());
            };
            let event = events.recv().await;
            let adds_nothing =
                matches!(event, Some(SequenceEvent::Started { .. } | SequenceEvent::Prompt(_)));
            match take(&mut self.choice, event) {
                Ok(()) if adds_nothing => continue,
                Ok(()) => {}
                Err(refusal) => return Some(self.fail(&refusal).into()),
            }
            let chunk = self.chunk();
            let data = chunk.map_or_else(|refusal| self.fail(&refusal), |chunk| chunk.to_string());
            return Some(data.into());
        }
        None
    }
}

impl Chunks {
    /// Ends the stream; the refusal is its last event.
    fn fail(&mut self, refusal: &Refusal) -> String {
        self.over = true;
        refusal.json().to_string()
    }

    /// The part of the choice that was not sent yet.
    fn chunk(&mut self) -> Result<Value, Refusal> {
        let text = self.choice.text(&*self.running.model.texts)?;
        let new = text.get(self.sent.1..).unwrap_or_default();
        let choice = self.running.choice(self.at, &self.choice, self.sent.0, new)?;
        let mut chunk = self.running.completion(&[choice]);
        self.sent = (self.choice.tokens.len(), text.len());
        if self.choice.finish.is_some() {
            let prompt = std::slice::from_ref(&self.running.request.prompts[self.at]);
            chunk["usage"] = usage(prompt, std::slice::from_ref(&self.choice));
            self.at += 1;
            self.choice = ChoiceSoFar::default();
            self.sent = (0, 0);
        }
        Ok(chunk)
    }
}
