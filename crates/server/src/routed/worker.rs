//! A handle on the thread that decodes, and the slots for its requests.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel, sync_channel};
use std::thread;

use tokenroute_core::{LanguageModel, Vocabulary};
use tokenroute_runtime::{Absent, Calls, KeepAll, Pair, Policy, RoutedDecoding, Session, Waker};
use tokio::sync::Semaphore;

use crate::net::liveness::Liveness;
use crate::net::memory::Reservation;
use crate::net::refusal::Refusal;
use crate::routed::config::ServeConfig;
use crate::routed::metrics::Metrics;
use crate::routed::pair::{LlmMemory, ServerLlm};
use crate::routed::request::RoutedRequest;
use crate::routed::scheduler::{Scheduler, Waiting};
use crate::routed::ticket::{Slot, Ticket, subscribe};

/// A handle on the thread that decodes. The thread ends once the handle is dropped and no
/// request is under way.
pub(crate) struct Worker {
    inbox: Sender<Waiting>,
    /// `None` if the thread could not start.
    waker: Option<Waker>,
    free: Arc<Semaphore>,
    slots: usize,
    /// Whether the thread runs.
    pub(crate) liveness: Liveness,
}

impl Worker {
    pub(crate) fn start<M>(
        slm: M,
        llm: Option<ServerLlm>,
        vocabulary: Vocabulary,
        config: ServeConfig,
        metrics: Arc<Metrics>,
        remote: bool,
    ) -> Worker
    where
        M: LanguageModel + Send + 'static,
        M::State: 'static,
    {
        let (inbox, waiting) = channel();
        let (sender, waker) = sync_channel(1);
        let sessions = config.sessions.max(1);
        let scheduler = Scheduler::new(waiting, sessions, metrics, remote);
        let liveness = Liveness::default();
        let alive = liveness.guard();
        let decode = move || {
            let _alive = alive;
            let llm = llm.unwrap_or_else(no_llm);
            let pair = Pair::new(&slm, &*llm.llm, &vocabulary);
            thread::scope(|scope| {
                let engine = RoutedDecoding {
                    calls: Some(llm.calls),
                    prefill: config.prefill,
                    kept_positions: config.kept_positions,
                    ..RoutedDecoding::new(pair, &*llm.scorer, config.policy)
                }
                .engine(scope);
                if sender.send(engine.waker()).is_ok() {
                    scheduler.run(engine);
                }
            });
        };
        // Without a thread there is no waker, and every request is refused.
        drop(thread::Builder::new().name("decode".to_owned()).spawn(decode));
        let slots = sessions.saturating_add(config.queue).min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(slots));
        Worker { inbox, waker: waker.recv().ok(), free, slots, liveness }
    }

    /// A slot, unless all are taken.
    pub(crate) fn slot(&self) -> Option<Slot> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(Slot::new)
    }

    /// Requests that hold a slot.
    pub(crate) fn under_way(&self) -> usize {
        self.slots - self.free.available_permits()
    }

    /// All slots, free or taken.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Hands a request to the thread, for its answer with this number.
    pub(crate) fn submit(
        &self,
        slot: &Slot,
        memory: Reservation,
        request: &RoutedRequest,
        number: u64,
    ) -> Result<Ticket, Refusal> {
        let sampling = request.policy.sampling.map(|sampling| sampling.shifted(number));
        let session = Session {
            question: String::new(),
            prompt: request.prompt.clone(),
            max_tokens: request.max_tokens,
            policy: Policy { sampling, ..request.policy },
        };
        let waker = self.waker.as_ref().ok_or(Refusal::WorkerEnded)?;
        let (ticket, subscriber) = subscribe(slot, memory, waker);
        self.inbox.send(Waiting { session, subscriber }).map_err(|_| Refusal::WorkerEnded)?;
        waker.wake();
        Ok(ticket)
    }
}

/// Stands in for the LLM of a server without one. Policies that would ask it are refused
/// earlier.
fn no_llm() -> ServerLlm {
    ServerLlm {
        llm: Box::new(Absent),
        scorer: Box::new(KeepAll),
        calls: Calls { threads: 1, together: 1 },
        bytes: None,
        memory: LlmMemory::default(),
    }
}
