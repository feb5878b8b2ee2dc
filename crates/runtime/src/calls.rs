//! Calls to the LLM, on threads of their own or batched on the engine's thread.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

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
    calls: VecDeque<Job>,
    /// Prompts that the LLM may forget. They go before all calls: a later call with the same
    /// prompt finds the same LLM state at any speed.
    forgets: VecDeque<Vec<TokenId>>,
    /// Prompts that threads forget now. A call that begins with one of them waits.
    forgetting: Vec<Vec<TokenId>>,
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
        Self::started(llm, vocabulary, mail, calls, |work| {
            thread::Builder::new().name("llm-call".to_owned()).spawn_scoped(scope, work).is_ok()
        })
    }

    /// Starts the threads with `spawn`, which returns whether a thread has started. The system
    /// may refuse some: the others make the calls. If it refuses all, the engine's thread does.
    fn started(
        llm: &'a L,
        vocabulary: &'a Vocabulary,
        mail: Sender<Mail>,
        calls: Calls,
        mut spawn: impl FnMut(Box<dyn FnOnce() + Send + 'a>) -> bool,
    ) -> Self {
        let shared = Arc::<Shared>::default();
        let mut started = 0;
        while started < calls.threads.max(1) {
            let (shared, mail) = (Arc::clone(&shared), mail.clone());
            let work = move || shared.work(llm, vocabulary, calls.together.max(1), &mail);
            if !spawn(Box::new(work)) {
                break;
            }
            started += 1;
        }
        if started == 0 {
            return Self::inline(llm, vocabulary, mail);
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
            Place::Threads(shared) if urgent => shared.lock().calls.push_front(job),
            Place::Threads(shared) => shared.lock().calls.push_back(job),
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
            if let Some(job) = queue.remove(call) {
                queue.calls.push_front(job);
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

    /// Lets the LLM free the state of a prompt, before any later call.
    pub(crate) fn forget(&mut self, prompt: Vec<TokenId>) {
        match &self.place {
            Place::Inline(_) => self.llm.forget(&prompt),
            Place::Threads(shared) => shared.lock().forgets.push_back(prompt),
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
            queue.calls.clear();
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
    fn remove(&mut self, call: CallId) -> Option<Job> {
        let at = self.calls.iter().position(|job| job.call == call)?;
        self.calls.remove(at)
    }

    /// The first call that need not wait for a prompt to be forgotten, if it is as wanted.
    fn take(&mut self, wanted: impl Fn(&Job) -> bool) -> Option<Job> {
        let waits = |job: &Job| self.forgetting.iter().any(|p| job.context.starts_with(p));
        let at = self.calls.iter().position(|job| !waits(job))?;
        if wanted(&self.calls[at]) { self.calls.remove(at) } else { None }
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
            if let Some(prompt) = queue.forgets.pop_front() {
                queue.forgetting.push(prompt.clone());
                return Some(Batch::Forget(prompt));
            }
            if let Some(job) = queue.take(|_| true) {
                let mut jobs = vec![job];
                while jobs.len() < together
                    && jobs[0].tokens == 1
                    && let Some(job) = queue.take(|job| job.tokens == 1)
                {
                    jobs.push(job);
                }
                return Some(Batch::Calls(jobs));
            }
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Makes calls until the engine has ended.
    fn work<L: Llm + ?Sized>(
        &self,
        llm: &L,
        vocabulary: &Vocabulary,
        together: usize,
        mail: &Sender<Mail>,
    ) {
        while let Some(batch) = self.next(together) {
            match batch {
                Batch::Calls(jobs) => answer(llm, vocabulary, jobs, mail),
                Batch::Forget(prompt) => {
                    // A panic costs the LLM's memory, but no thread.
                    drop(catch_unwind(AssertUnwindSafe(|| llm.forget(&prompt))));
                    let mut queue = self.lock();
                    let at = queue.forgetting.iter().position(|p| *p == prompt);
                    at.map(|at| queue.forgetting.swap_remove(at));
                    self.filled.notify_all();
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

#[cfg(test)]
mod tests;
