//! The channel between a client's task and the thread that decodes: a [`Ticket`] at the
//! client's end, a [`Subscriber`] at the thread's end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokenroute_core::{Bytes, LogProbability, Trace, TraceToken};
use tokenroute_runtime::Waker;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::net::memory::Reservation;
use crate::net::refusal::Refusal;

/// Events of an answer, in order.
#[derive(Debug)]
pub(crate) enum AnswerEvent {
    /// A token, its log-probability if it is listed, and when it was made.
    Token(TraceToken, Option<LogProbability>, Instant),
    /// The answer is complete, or was stopped.
    Done(AnswerEnd),
    /// Decoding failed.
    Failed(String),
}

/// Counts that are known at the end of an answer.
#[derive(Debug, Default)]
pub(crate) struct AnswerEnd {
    pub(crate) trace: Trace,
    /// Bytes to and from the LLM for this answer, if it is behind a network.
    pub(crate) bytes: Option<Bytes>,
}

/// A slot among the requests that decode or wait. It is free again once the client has left
/// or the answer is made, whichever is first: a slow reader does not hold a slot.
#[derive(Debug, Clone)]
pub(crate) struct Slot(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Slot {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Slot {
        Slot(Arc::new(Mutex::new(Some(permit))))
    }

    fn release(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// A request at its client's end. Dropping it ends the request.
pub(crate) struct Ticket {
    events: UnboundedReceiver<AnswerEvent>,
    stop: Arc<AtomicBool>,
    /// Notified once no more events come.
    ended: Arc<Notify>,
    waker: Waker,
    slot: Slot,
}

/// A request at the decoding thread's end. It is dropped after its session has ended.
pub(crate) struct Subscriber {
    events: UnboundedSender<AnswerEvent>,
    stop: Arc<AtomicBool>,
    ended: Arc<Notify>,
    slot: Slot,
    /// Memory of the session.
    _memory: Reservation,
}

/// Both ends of a request that holds this slot and this memory.
pub(crate) fn subscribe(slot: &Slot, memory: Reservation, waker: &Waker) -> (Ticket, Subscriber) {
    let (events, receiver) = unbounded_channel();
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::new(Notify::new());
    let subscriber = Subscriber {
        events,
        stop: Arc::clone(&stop),
        ended: Arc::clone(&ended),
        slot: slot.clone(),
        _memory: memory,
    };
    let (slot, waker) = (slot.clone(), waker.clone());
    (Ticket { events: receiver, stop, ended, waker, slot }, subscriber)
}

impl Ticket {
    /// The next event.
    pub(crate) async fn next(&mut self) -> Result<AnswerEvent, Refusal> {
        self.events.recv().await.ok_or(Refusal::WorkerEnded)
    }

    /// The next event, if it is there already.
    pub(crate) fn ready(&mut self) -> Option<AnswerEvent> {
        self.events.try_recv().ok()
    }

    /// Waits until no more events come; returns once.
    pub(crate) async fn ended(&self) {
        self.ended.notified().await;
    }

    /// Asks for no more tokens; [`AnswerEvent::Done`] still comes.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.events.close();
        self.slot.release();
        self.waker.wake();
    }
}

impl Subscriber {
    pub(crate) fn send(&self, event: AnswerEvent) {
        // A closed channel is noticed before the next turn.
        drop(self.events.send(event));
    }

    /// Whether the client has left or asked for no more.
    pub(crate) fn wants_no_more(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.events.is_closed()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.ended.notify_one();
        self.slot.release();
    }
}
