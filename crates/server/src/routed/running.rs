//! An answer under way: events of the thread that decodes become text, with counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::openai::reply::Finish;
use crate::net::refusal::Refusal;
use crate::routed::answer::{AnswerText, TokenText};
use crate::routed::metrics::Outcome;
use crate::routed::request::RoutedRequest;
use crate::routed::shared::Shared;
use crate::routed::ticket::{AnswerEvent, Ticket};
use crate::routed::usage::AnswerUsage;

/// Tokens that follow each other faster than this share a chunk of the reply: people do not
/// read faster, and a chunk costs as much as a small model's token or more.
const PACE: Duration = Duration::from_millis(5);

/// One answer to a request that the decoding thread has.
pub(crate) struct RunningAnswer {
    shared: Arc<Shared>,
    pub(crate) usage: AnswerUsage,
    ticket: Ticket,
    text: AnswerText,
    start: Instant,
    /// When the last token was made.
    last: Option<Instant>,
    /// When text was last given out.
    given: Option<Instant>,
    outcome: Outcome,
}

impl RunningAnswer {
    /// An answer to a request that arrived at `start`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        request: &RoutedRequest,
        ticket: Ticket,
        start: Instant,
    ) -> Self {
        let pair = &shared.pair;
        let stops = request.stops.clone();
        let text = AnswerText::new(Arc::clone(&pair.tokenizer), Arc::clone(&pair.ends), stops);
        shared.metrics.asked(request.prompt.len());
        RunningAnswer {
            shared,
            usage: AnswerUsage::default(),
            ticket,
            text,
            start,
            last: None,
            given: None,
            outcome: Outcome::Left,
        }
    }

    /// All tokens that are still to come, and the reason for the end.
    pub(crate) async fn rest(&mut self) -> Result<(Vec<TokenText>, Finish), Refusal> {
        let mut tokens = Vec::new();
        loop {
            let (more, finish) = self.next().await?;
            tokens.extend(more);
            if let Some(finish) = finish {
                return Ok((tokens, finish));
            }
        }
    }

    /// The next tokens with their text. The last ones come with the reason for the end.
    pub(crate) async fn next(&mut self) -> Result<(Vec<TokenText>, Option<Finish>), Refusal> {
        let next = self.tokens().await;
        match &next {
            Err(_) => self.outcome = Outcome::Failed,
            Ok((_, Some(_))) => self.outcome = Outcome::Done,
            Ok((_, None)) => {}
        }
        next
    }

    async fn tokens(&mut self) -> Result<(Vec<TokenText>, Option<Finish>), Refusal> {
        let limit = self.shared.pair.time;
        if let Some(given) = self.given {
            // The decoding thread need not wake this task for every token.
            let due = tokio::time::Instant::from_std(given + PACE);
            tokio::select! {
                () = tokio::time::sleep_until(due) => {}
                () = self.ticket.ended() => {}
            }
        }
        loop {
            let event = tokio::time::timeout_at((self.start + limit).into(), self.ticket.next());
            let event = event.await.map_err(|_| Refusal::Late { limit })??;
            let mut tokens = Vec::new();
            let mut finish = self.take(event, &mut tokens)?;
            while finish.is_none()
                && let Some(event) = self.ticket.ready()
            {
                finish = self.take(event, &mut tokens)?;
            }
            if finish.is_some() || !tokens.is_empty() {
                self.given = Some(Instant::now());
                return Ok((tokens, finish));
            }
        }
    }

    /// Takes one event, and puts out the tokens whose text is final.
    fn take(
        &mut self,
        event: AnswerEvent,
        out: &mut Vec<TokenText>,
    ) -> Result<Option<Finish>, Refusal> {
        match event {
            // The token was made before the stop reached the decoding thread.
            AnswerEvent::Token(..) if self.text.stopped() => {}
            AnswerEvent::Token(token, listed, made) => {
                self.clock(made);
                self.usage.count(&token);
                let tokens = self.text.push(token, listed);
                out.extend(tokens.map_err(|error| Refusal::Failed(error.to_string()))?);
                if self.text.stopped() {
                    self.ticket.stop();
                }
            }
            AnswerEvent::Done(end) => {
                let stop = end.trace.ended || self.text.stopped();
                self.usage.end(end);
                out.extend(self.text.rest());
                return Ok(Some(if stop { Finish::Stop } else { Finish::Length }));
            }
            AnswerEvent::Failed(message) => return Err(Refusal::Failed(message)),
        }
        Ok(None)
    }

    /// Records the wait for a token.
    fn clock(&mut self, made: Instant) {
        let metrics = &self.shared.metrics;
        match self.last.replace(made) {
            None => metrics.first_token.record(made - self.start),
            Some(last) => metrics.between_tokens.record(made - last),
        }
    }
}

impl Drop for RunningAnswer {
    fn drop(&mut self) {
        self.shared.metrics.outcome(self.outcome);
    }
}
