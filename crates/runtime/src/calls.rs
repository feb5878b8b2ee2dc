//! Calls to the LLM, on threads of their own or batched on the engine's thread.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use tokenroute_core::{Ask, Continuation, Llm, LlmError, Reply, Sampling, TokenId, Vocabulary};

use crate::SessionId;

/// How the LLM is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// Threads that call the LLM, at least 1. It is the largest number of concurrent calls.
    pub threads: usize,
    /// Most asks in one call of [`Llm::ask`]. Use 1 for an LLM behind a network, where one slow
    /// answer would delay the others. Use many for an LLM in process, which answers a batch at
    /// the price of one.
    pub together: usize,
}

/// Number of a call within its engine.
pub(crate) type CallId = u64;

/// The result of a call.
pub(crate) type CallResult = Result<Reply, LlmError>;

/// A message to the engine from another thread.
#[derive(Debug)]
pub(crate) enum Mail {
    /// The result of a call.
    Result(CallId, CallResult),
    /// Ends a waiting turn.
    Wake,
}

/// What a call asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    /// Most tokens; more than one is a relay.
    pub(crate) tokens: usize,
    pub(crate) sampling: Option<Sampling>,
    /// As [`Ask::top`]. A relay brings none.
    pub(crate) top: usize,
}

/// One call.
#[derive(Debug)]
struct Job {
    call: CallId,
    context: Vec<TokenId>,
    /// Most tokens requested; more than one is a relay.
    tokens: usize,
    sampling: Option<Sampling>,
    /// As [`Ask::top`].
    top: usize,
}

#[derive(Debug)]
enum Work {
    Call(Job),
    Forget(Vec<TokenId>),
}

/// Makes calls and records their sessions.
pub(crate) struct Caller<'a, L: Llm + ?Sized> {
    llm: &'a L,
    vocabulary: &'a Vocabulary,
    mail: Sender<Mail>,
    place: Place,
    /// The sessions of the calls in flight.
    flights: BTreeMap<CallId, SessionId>,
    next: CallId,
}

/// The thread that makes the calls.
enum Place {
    /// The engine's thread. Calls are collected first.
    Inline(Vec<Job>),
    /// Worker threads that take calls from a queue.
    Threads(Arc<Shared>),
}

/// State shared by the engine and its threads.
#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    work: VecDeque<Work>,
    closed: bool,
}

impl<'a, L: Llm + ?Sized> Caller<'a, L> {
    pub(crate) fn inline(llm: &'a L, vocabulary: &'a Vocabulary, mail: Sender<Mail>) -> Self {
        let place = Place::Inline(Vec::new());
        Caller { llm, vocabulary, mail, place, flights: BTreeMap::new(), next: 0 }
    }

    pub(crate) fn threads(
        scope: &'a Scope<'a, '_>,
        llm: &'a L,
        vocabulary: &'a Vocabulary,
        mail: Sender<Mail>,
        calls: Calls,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        for _ in 0..calls.threads.max(1) {
            let (shared, mail) = (Arc::clone(&shared), mail.clone());
            scope.spawn(move || {
                while let Some(work) = shared.next(calls.together.max(1)) {
                    match work {
                        Batch::Calls(jobs) => answer(llm, vocabulary, jobs, &mail),
                        Batch::Forget(prompt) => llm.forget(&prompt),
                    }
                }
            });
        }
        let place = Place::Threads(shared);
        Caller { llm, vocabulary, mail, place, flights: BTreeMap::new(), next: 0 }
    }

    /// Queues a call, before all others if it is urgent.
    pub(crate) fn submit(
        &mut self,
        session: SessionId,
        context: &[TokenId],
        wanted: Wanted,
        urgent: bool,
    ) -> CallId {
        let call = self.next;
        self.next += 1;
        self.flights.insert(call, session);
        let Wanted { tokens, sampling, top } = wanted;
        let job = Job { call, context: context.to_vec(), tokens, sampling, top };
        match &mut self.place {
            Place::Inline(jobs) => jobs.push(job),
            Place::Threads(shared) if urgent => shared.lock().work.push_front(Work::Call(job)),
            Place::Threads(shared) => shared.lock().work.push_back(Work::Call(job)),
        }
        self.notify();
        call
    }

    fn notify(&self) {
        if let Place::Threads(shared) = &self.place {
            shared.filled.notify_one();
        }
    }

    /// Moves a call to the front, if it is still queued.
    pub(crate) fn hurry(&mut self, call: CallId) {
        if let Place::Threads(shared) = &self.place {
            let mut queue = shared.lock();
            if let Some(work) = queue.remove(call) {
                queue.work.push_front(work);
            }
        }
    }

    /// Cancels a queued call. Returns false if it is already in flight.
    pub(crate) fn withdraw(&mut self, call: CallId) -> bool {
        let Place::Threads(shared) = &self.place else { return false };
        let back = shared.lock().remove(call).is_some();
        if back {
            self.flights.remove(&call);
        }
        back
    }

    /// Removes a finished call and returns its session.
    pub(crate) fn landed(&mut self, call: CallId) -> Option<SessionId> {
        self.flights.remove(&call)
    }

    /// Whether a session has calls in flight or queued.
    pub(crate) fn owes(&self, session: SessionId) -> bool {
        self.flights.values().any(|&s| s == session)
    }

    /// Number of calls in flight or queued.
    pub(crate) fn flying(&self) -> usize {
        self.flights.len()
    }

    /// Lets the LLM free the state of a prompt.
    pub(crate) fn forget(&mut self, prompt: Vec<TokenId>) {
        match &self.place {
            Place::Inline(_) => self.llm.forget(&prompt),
            Place::Threads(shared) => shared.lock().work.push_back(Work::Forget(prompt)),
        }
        self.notify();
    }

    /// Makes the collected calls, if the engine's thread makes them.
    pub(crate) fn flush(&mut self) {
        if let Place::Inline(jobs) = &mut self.place {
            answer(self.llm, self.vocabulary, mem::take(jobs), &self.mail);
        }
    }
}

impl<L: Llm + ?Sized> Drop for Caller<'_, L> {
    fn drop(&mut self) {
        if let Place::Threads(shared) = &self.place {
            let mut queue = shared.lock();
            queue.closed = true;
            queue.work.retain(|w| matches!(w, Work::Forget(_)));
            shared.filled.notify_all();
        }
    }
}

/// The work that a thread takes at once.
enum Batch {
    Calls(Vec<Job>),
    Forget(Vec<TokenId>),
}

impl Queue {
    fn remove(&mut self, call: CallId) -> Option<Work> {
        let is = |w: &Work| matches!(w, Work::Call(job) if job.call == call);
        let at = self.work.iter().position(is)?;
        self.work.remove(at)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that holds the lock can panic halfway.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `together` asks, one relay, or a prompt to forget. `None` after the engine has
    /// ended.
    fn next(&self, together: usize) -> Option<Batch> {
        let mut queue = self.lock();
        loop {
            match queue.work.pop_front() {
                Some(Work::Forget(prompt)) => return Some(Batch::Forget(prompt)),
                Some(Work::Call(job)) => {
                    let mut jobs = vec![job];
                    while jobs.len() < together
                        && jobs[0].tokens == 1
                        && let Some(Work::Call(Job { tokens: 1, .. })) = queue.work.front()
                        && let Some(Work::Call(job)) = queue.work.pop_front()
                    {
                        jobs.push(job);
                    }
                    return Some(Batch::Calls(jobs));
                }
                None if queue.closed => return None,
                None => {
                    queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Makes calls and mails their results. Asks for one token form one batch, relays another.
fn answer<L: Llm + ?Sized>(llm: &L, vocabulary: &Vocabulary, jobs: Vec<Job>, mail: &Sender<Mail>) {
    let (single, relays): (Vec<_>, Vec<_>) = jobs.into_iter().partition(|job| job.tokens == 1);
    let asks: Vec<Ask<'_>> =
        single.iter().map(|job| Ask::next(&job.context, job.sampling).with_top(job.top)).collect();
    call(&single, mail, || llm.ask(&asks));
    let wanted: Vec<Continuation<'_>> = relays
        .iter()
        .map(|&Job { ref context, tokens, sampling, .. }| Continuation {
            context,
            tokens,
            sampling,
            resumed: true,
        })
        .collect();
    call(&relays, mail, || llm.continuations(&wanted, vocabulary));
}

/// Makes one call for these jobs, if there are any, and mails each its reply.
fn call(jobs: &[Job], mail: &Sender<Mail>, llm: impl FnOnce() -> Vec<CallResult>) {
    if jobs.is_empty() {
        return;
    }
    // A panic in the LLM counts as a failure, so that no session waits forever.
    let lost = |_| vec![Err(LlmError::Unavailable("its worker was lost".to_owned())); jobs.len()];
    let mut replies = catch_unwind(AssertUnwindSafe(llm)).unwrap_or_else(lost).into_iter();
    for job in jobs {
        let none = || Err(LlmError::BadReply("no reply to this ask".to_owned()));
        // An engine that has ended does not read its mail.
        drop(mail.send(Mail::Result(job.call, replies.next().unwrap_or_else(none))));
    }
}
