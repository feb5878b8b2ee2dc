//! One request under way: what the decoding thread says of it, as pieces of an
//! answer, with its counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokenroute_core::{Bytes, Cause, Origin, TraceToken};

use crate::answer::{Answer, Finish, Piece};
use crate::metrics::{Outcome, cause_name};
use crate::refusal::Refusal;
use crate::request::Plan;
use crate::service::Inner;
use crate::worker::{Ended, Event, Ticket};

/// Tokens that come faster than this after each other share a piece of the reply; nobody reads
/// faster, and every piece costs as much as a small model's token or more.
const PACE: Duration = Duration::from_millis(5);

/// Counts over the tokens of one answer.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    made: usize,
    offloaded: usize,
    speculated: usize,
    causes: BTreeMap<Cause, usize>,
    end: Ended,
}

impl Tally {
    fn count(&mut self, token: &TraceToken) {
        self.made += 1;
        self.offloaded += usize::from(token.origin == Origin::Llm);
        self.speculated += usize::from(token.speculated);
        if let Some(cause) = token.cause {
            *self.causes.entry(cause).or_default() += 1;
        }
    }

    /// OpenAI's usage, with what routing adds under `tokenroute`.
    pub(crate) fn json(&self, prompt: usize) -> Value {
        let causes: BTreeMap<&str, usize> =
            self.causes.iter().map(|(&cause, &n)| (cause_name(cause), n)).collect();
        let Ended { trace, bytes } = &self.end;
        let mut usage = json!({
            "prompt_tokens": prompt,
            "completion_tokens": self.made,
            "total_tokens": prompt + self.made,
            "tokenroute": {
                "offloaded": self.offloaded,
                "offload_ratio": self.offloaded as f64 / self.made.max(1) as f64,
                "degraded": self.causes.values().sum::<usize>(),
                "causes": causes,
                "held": trace.held,
                "relayed": trace.relayed,
                "waits": trace.waits,
                "speculated": self.speculated,
                "speculated_positions": trace.speculated,
                "rolled_back_positions": trace.rolled_back,
                "slm_positions": trace.slm_positions,
                "llm_positions": trace.llm_positions,
                "llm_calls": trace.llm_calls,
                "wasted_calls": trace.wasted_calls,
                "wasted_positions": trace.wasted_positions,
            },
        });
        if let Some(Bytes { up, down }) = bytes {
            usage["tokenroute"]["bytes_up"] = (*up).into();
            usage["tokenroute"]["bytes_down"] = (*down).into();
        }
        usage
    }
}

/// A request whose prompt the decoding thread has.
pub(crate) struct Running {
    pub(crate) inner: Arc<Inner>,
    pub(crate) plan: Plan,
    pub(crate) id: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
    pub(crate) tally: Tally,
    ticket: Ticket,
    answer: Answer,
    start: Instant,
    /// When the last token was made.
    last: Option<Instant>,
    /// When pieces were last given out.
    given: Option<Instant>,
    outcome: Outcome,
}

impl Running {
    pub(crate) fn new(
        inner: Arc<Inner>,
        plan: Plan,
        ticket: Ticket,
        id: String,
        created: u64,
        start: Instant,
    ) -> Self {
        let facts = &inner.facts;
        let stops = plan.stops.clone();
        let answer = Answer::new(Arc::clone(&facts.tokenizer), Arc::clone(&facts.ends), stops);
        inner.metrics.asked(plan.prompt.len());
        Running {
            inner,
            plan,
            id,
            created,
            tally: Tally::default(),
            ticket,
            answer,
            start,
            last: None,
            given: None,
            outcome: Outcome::Left,
        }
    }

    /// The next pieces; with the last ones comes why the answer ended.
    pub(crate) async fn next(&mut self) -> Result<(Vec<Piece>, Option<Finish>), Refusal> {
        let next = self.pieces().await;
        match &next {
            Err(_) => self.outcome = Outcome::Failed,
            Ok((_, Some(_))) => self.outcome = Outcome::Done,
            Ok((_, None)) => {}
        }
        next
    }

    async fn pieces(&mut self) -> Result<(Vec<Piece>, Option<Finish>), Refusal> {
        let time = self.inner.facts.time;
        let late = |_| Refusal::Late { seconds: time.as_secs() };
        if let Some(given) = self.given {
            // The decoding thread need not wake this one for every token.
            let due = tokio::time::Instant::from_std(given + PACE);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.ticket.ended() => {}
            }
        }
        loop {
            let event = tokio::time::timeout_at((self.start + time).into(), self.ticket.next());
            let event = event.await.map_err(late)??;
            let mut pieces = Vec::new();
            let mut finish = self.take(event, &mut pieces)?;
            while finish.is_none()
                && let Some(event) = self.ticket.ready()
            {
                finish = self.take(event, &mut pieces)?;
            }
            if finish.is_some() || !pieces.is_empty() {
                self.given = Some(Instant::now());
                return Ok((pieces, finish));
            }
        }
    }

    /// Takes in one event and puts out the pieces that it makes certain.
    fn take(&mut self, event: Event, out: &mut Vec<Piece>) -> Result<Option<Finish>, Refusal> {
        match event {
            // Made before the decoding thread heard of the stop.
            Event::Token(..) if self.answer.stopped() => {}
            Event::Token(token, made) => {
                self.clock(made);
                self.tally.count(&token);
                let pieces = self.answer.push(token);
                out.extend(pieces.map_err(|error| Refusal::Failed(error.to_string()))?);
                if self.answer.stopped() {
                    self.ticket.stop();
                }
            }
            Event::Done(end) => {
                let stop = end.trace.ended || self.answer.stopped();
                self.tally.end = end;
                out.extend(self.answer.rest());
                return Ok(Some(if stop { Finish::Stop } else { Finish::Length }));
            }
            Event::Failed(message) => return Err(Refusal::Failed(message)),
        }
        Ok(None)
    }

    /// Measures the wait for a token.
    fn clock(&mut self, made: Instant) {
        let metrics = &self.inner.metrics;
        match self.last.replace(made) {
            None => metrics.first_token.record(made - self.start),
            Some(last) => metrics.between_tokens.record(made - last),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.inner.metrics.outcome(self.outcome);
    }
}
