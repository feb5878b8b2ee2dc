//! The thread that decodes: requests join and leave between the turns of one engine.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokenroute_core::{Bytes, LanguageModel, Llm, Trace, TraceToken, Vocabulary};
use tokenroute_runtime::{
    Absent, Calls, Engine, Event as Turned, KeepAll, Pair, Session, SessionId, Waker,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::request::Plan;
use crate::service::{Large, ServeConfig};

/// How long a turn waits when nothing wakes it.
const PATIENCE: Duration = Duration::from_secs(1);

/// What becomes of a request, in order.
#[derive(Debug)]
pub(crate) enum Event {
    /// A token and when it was made.
    Token(TraceToken, Instant),
    /// The answer is complete, or was stopped.
    Done(Ended),
    Failed(String),
}

/// What is known at the end of an answer.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    pub(crate) trace: Trace,
    /// What crossed the network to the LLM for it, if there is one between.
    pub(crate) bytes: Option<Bytes>,
}

/// A place among the requests that decode or wait. It is free again once the client
/// has left or the answer is made, whichever is first: who reads slowly keeps nobody out.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Place {
    fn give_back(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// A handle on the thread, which ends when it is gone and nothing is under way.
pub(crate) struct Worker {
    jobs: Sender<Job>,
    /// `None` if the thread ended before it began.
    waker: Option<Waker>,
    free: Arc<Semaphore>,
    places: usize,
}

/// One request from its client's side. Dropping it ends the request.
pub(crate) struct Ticket {
    events: UnboundedReceiver<Event>,
    stop: Arc<AtomicBool>,
    /// Told once nothing more will come.
    ended: Arc<Notify>,
    waker: Waker,
    place: Place,
}

struct Job {
    session: Session,
    hearer: Hearer,
}

/// Whom to tell, if still there.
struct Hearer {
    events: UnboundedSender<Event>,
    stop: Arc<AtomicBool>,
    ended: Arc<Notify>,
    place: Place,
}

impl Drop for Hearer {
    fn drop(&mut self) {
        self.ended.notify_one();
        self.place.give_back();
    }
}

impl Worker {
    pub(crate) fn start<M>(
        slm: M,
        large: Option<Large>,
        vocabulary: Vocabulary,
        config: ServeConfig,
        metrics: Arc<Metrics>,
        remote: bool,
    ) -> Worker
    where
        M: LanguageModel + Send + 'static,
        M::State: 'static,
    {
        let (jobs, inbox) = channel();
        let (sender, waker) = sync_channel(1);
        let desk = Desk {
            inbox,
            open: true,
            waiting: VecDeque::new(),
            live: BTreeMap::new(),
            sessions: config.sessions.max(1),
            metrics,
            remote,
        };
        let decode = move || {
            let large = large.unwrap_or_else(alone);
            let pair = Pair::new(&slm, &*large.llm, &vocabulary);
            thread::scope(|scope| {
                let engine = Engine::new(scope, pair, &*large.scorer, large.calls)
                    .reading(config.prefill)
                    .keeping(config.kept_positions);
                if sender.send(engine.waker()).is_ok() {
                    desk.run(engine);
                }
            });
        };
        // Without a thread there is no waker either, and requests are told so.
        drop(thread::Builder::new().name("decode".to_owned()).spawn(decode));
        let places = config.sessions.max(1) + config.queue;
        let free = Arc::new(Semaphore::new(places));
        Worker { jobs, waker: waker.recv().ok(), free, places }
    }

    /// A place, unless all are taken.
    pub(crate) fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Place(Arc::new(Mutex::new(Some(permit)))))
    }

    /// Requests that have a place.
    pub(crate) fn under_way(&self) -> usize {
        self.places - self.free.available_permits()
    }

    /// Requests that may have one.
    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// Hands a prompt to the thread.
    pub(crate) fn submit(&self, place: Place, plan: &Plan) -> Result<Ticket, Refusal> {
        let (events, receiver) = unbounded_channel();
        let stop = Arc::new(AtomicBool::new(false));
        let session = Session {
            question: String::new(),
            prompt: plan.prompt.clone(),
            max_tokens: plan.max_tokens,
            policy: plan.policy,
        };
        let ended = Arc::new(Notify::new());
        let hearer = Hearer {
            events,
            stop: Arc::clone(&stop),
            ended: Arc::clone(&ended),
            place: place.clone(),
        };
        let waker = self.waker.clone().ok_or_else(gone)?;
        self.jobs.send(Job { session, hearer }).map_err(|_| gone())?;
        waker.wake();
        Ok(Ticket { events: receiver, stop, ended, waker, place })
    }
}

impl Ticket {
    /// What happens next.
    pub(crate) async fn next(&mut self) -> Result<Event, Refusal> {
        self.events.recv().await.ok_or_else(gone)
    }

    /// What has happened already, if anything has.
    pub(crate) fn ready(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Until nothing more will come; returns once.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Asks for no more tokens; [`Event::Done`] still comes.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.events.close();
        self.place.give_back();
        self.waker.wake();
    }
}

fn gone() -> Refusal {
    Refusal::Failed("the decoding thread has ended; restart the server".to_owned())
}

impl Hearer {
    fn tell(&self, event: Event) {
        // Who has left is dropped before the next turn.
        drop(self.events.send(event));
    }

    fn wants_no_more(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.events.is_closed()
    }
}

/// Where requests come in and tokens go out.
struct Desk {
    inbox: Receiver<Job>,
    /// Whether requests may still come.
    open: bool,
    waiting: VecDeque<Job>,
    live: BTreeMap<SessionId, Hearer>,
    sessions: usize,
    metrics: Arc<Metrics>,
    /// Whether there is a network between.
    remote: bool,
}

impl Desk {
    fn run<M: LanguageModel, L: Llm + ?Sized>(mut self, mut engine: Engine<'_, M, L>) {
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

    /// Ends what nobody waits for, or was told to stop.
    fn dismiss<M: LanguageModel, L: Llm + ?Sized>(&mut self, engine: &mut Engine<'_, M, L>) {
        self.waiting.retain(|job| !job.hearer.wants_no_more());
        let live = self.live.extract_if(.., |_, hearer| hearer.wants_no_more());
        for (id, hearer) in live.collect::<Vec<_>>() {
            if let Some(trace) = engine.cancel(id) {
                self.end(&hearer, trace);
            }
        }
    }

    /// Lets waiting requests in.
    fn admit<M: LanguageModel, L: Llm + ?Sized>(&mut self, engine: &mut Engine<'_, M, L>) {
        while self.open {
            match self.inbox.try_recv() {
                Ok(job) => self.waiting.push_back(job),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.open = false,
            }
        }
        while self.live.len() < self.sessions
            && let Some(Job { session, hearer }) = self.waiting.pop_front()
        {
            match engine.add(session) {
                Ok(id) => drop(self.live.insert(id, hearer)),
                Err(error) => hearer.tell(Event::Failed(error.to_string())),
            }
        }
    }

    fn hand_out(&mut self, event: Turned, now: Instant) {
        match event {
            Turned::Token { session, token } => {
                self.metrics.made(token.origin, token.cause);
                if let Some(hearer) = self.live.get(&session) {
                    hearer.tell(Event::Token(token, now));
                }
            }
            Turned::Ended { session, trace } => {
                if let Some(hearer) = self.live.remove(&session) {
                    self.end(&hearer, trace);
                }
            }
            Turned::Failed { session, error, trace } => {
                self.metrics.ended(&trace);
                if let Some(hearer) = self.live.remove(&session) {
                    hearer.tell(Event::Failed(error.to_string()));
                }
            }
            Turned::Billed { positions, .. } => self.metrics.billed(positions),
        }
    }

    fn end(&self, hearer: &Hearer, trace: Trace) {
        self.metrics.ended(&trace);
        let bytes = self.remote.then_some(trace.bytes);
        hearer.tell(Event::Done(Ended { trace, bytes }));
    }
}

/// What stands in for a large model where there is none. Policies that would ask
/// it are refused before.
fn alone() -> Large {
    Large {
        llm: Box::new(Absent),
        scorer: Box::new(KeepAll),
        calls: Calls { threads: 1, together: 1 },
        traffic: None,
    }
}
