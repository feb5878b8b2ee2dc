//! The loop of the thread that decodes: requests join and leave between the turns of one
//! engine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use tokenroute_core::{LanguageModel, Llm, Trace};
use tokenroute_runtime::{Engine, Event as EngineEvent, Session, SessionId};

use crate::routed::metrics::Metrics;
use crate::routed::ticket::{AnswerEnd, AnswerEvent, Subscriber};

/// Longest turn while no event wakes it.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request that waits for a session.
pub(crate) struct Waiting {
    pub(crate) session: Session,
    pub(crate) subscriber: Subscriber,
}

/// Admits requests, runs turns of the engine, and sends tokens to subscribers.
pub(crate) struct Scheduler {
    inbox: Receiver<Waiting>,
    /// Whether more requests may come.
    open: bool,
    waiting: VecDeque<Waiting>,
    live: BTreeMap<SessionId, Subscriber>,
    sessions: usize,
    metrics: Arc<Metrics>,
    /// Whether the LLM is behind a network.
    remote: bool,
}

impl Scheduler {
    /// A scheduler for at most `sessions` requests at once.
    pub(crate) fn new(
        inbox: Receiver<Waiting>,
        sessions: usize,
        metrics: Arc<Metrics>,
        remote: bool,
    ) -> Self {
        let (waiting, live) = (VecDeque::new(), BTreeMap::new());
        Scheduler { inbox, open: true, waiting, live, sessions, metrics, remote }
    }

    /// Runs until no more requests can come and none is under way.
    pub(crate) fn run<M: LanguageModel, L: Llm + ?Sized>(mut self, mut engine: Engine<'_, M, L>) {
        loop {
            self.dismiss(&mut engine);
            self.admit(&mut engine);
            if !self.open && self.live.is_empty() && self.waiting.is_empty() {
                return;
            }
            let events = engine.turn(PATIENCE);
            let now = Instant::now();
            for event in events {
                self.hand_out(event, now);
            }
        }
    }

    /// Ends requests whose client has left or stopped them.
    fn dismiss<M: LanguageModel, L: Llm + ?Sized>(&mut self, engine: &mut Engine<'_, M, L>) {
        self.waiting.retain(|waiting| !waiting.subscriber.wants_no_more());
        let live = self.live.extract_if(.., |_, subscriber| subscriber.wants_no_more());
        for (id, subscriber) in live.collect::<Vec<_>>() {
            if let Some(trace) = engine.cancel(id) {
                self.end(&subscriber, trace);
            }
        }
    }

    /// Starts sessions for waiting requests.
    fn admit<M: LanguageModel, L: Llm + ?Sized>(&mut self, engine: &mut Engine<'_, M, L>) {
        while self.open {
            match self.inbox.try_recv() {
                Ok(waiting) => self.waiting.push_back(waiting),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.open = false,
            }
        }
        while self.live.len() < self.sessions
            && let Some(Waiting { session, subscriber }) = self.waiting.pop_front()
        {
            match engine.add(session) {
                Ok(id) => drop(self.live.insert(id, subscriber)),
                Err(error) => subscriber.send(AnswerEvent::Failed(error.to_string())),
            }
        }
    }

    fn hand_out(&mut self, event: EngineEvent, now: Instant) {
        match event {
            EngineEvent::Token { session, token, listed } => {
                self.metrics.made(token.origin, token.cause);
                if let Some(subscriber) = self.live.get(&session) {
                    subscriber.send(AnswerEvent::Token(token, listed, now));
                }
            }
            EngineEvent::Ended { session, trace } => {
                if let Some(subscriber) = self.live.remove(&session) {
                    self.end(&subscriber, trace);
                }
            }
            EngineEvent::Failed { session, error, trace } => {
                self.metrics.ended(&trace);
                if let Some(subscriber) = self.live.remove(&session) {
                    subscriber.send(AnswerEvent::Failed(error.to_string()));
                }
            }
            EngineEvent::Billed { positions, .. } => self.metrics.billed(positions),
        }
    }

    fn end(&self, subscriber: &Subscriber, trace: Trace) {
        self.metrics.ended(&trace);
        let bytes = self.remote.then_some(trace.bytes);
        subscriber.send(AnswerEvent::Done(AnswerEnd { trace, bytes }));
    }
}
