//! The engine: the one loop of routed decoding. It runs many sessions, each with its own
//! policy. A turn is one batched SLM step. An LLM call delays only the session that waits for
//! it.

use std::collections::BTreeMap;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use tokenroute_core::{LanguageModel, Llm, ModelError, PrefixCache, Reply, Scorer, TokenId, Trace};

use crate::branch::{Branch, Head, Rules};
use crate::budget::Savings;
use crate::calls::{Caller, Mail};
use crate::event::{Event, Session, SessionId};
use crate::lookahead::Lookahead;
use crate::session::{End, RunningSession};
use crate::{Calls, Committed, Pair, Path, Policy, RuntimeError};

/// Interrupts [`Engine::turn`] from another thread.
#[derive(Debug, Clone)]
pub struct Waker {
    mail: Sender<Mail>,
}

impl Waker {
    /// Ends the waiting turn, or else the next turn that would wait. Does nothing after the
    /// engine has ended.
    pub fn wake(&self) {
        drop(self.mail.send(Mail::Wake));
    }
}

/// Decodes many sessions turn by turn.
pub struct Engine<'a, S: LanguageModel, L: Llm + ?Sized> {
    pub(crate) pair: Pair<'a, S, L>,
    scorer: &'a dyn Scorer,
    /// Most prompt positions prefilled in one turn.
    pub(crate) prefill: usize,
    /// States of ended sessions.
    kept: PrefixCache<S::State>,
    caller: Caller<'a, L>,
    mail: Receiver<Mail>,
    waker: Waker,
    woken: bool,
    /// In order of their ids.
    pub(crate) sessions: Vec<RunningSession<'a, S::State>>,
    next: u64,
    /// Unused budget over answers.
    savings: Savings,
    /// Prompts of ended sessions that still have calls in flight.
    left: BTreeMap<SessionId, Vec<TokenId>>,
    /// Committed parts of ended sessions, if they are recorded.
    committed: Option<BTreeMap<SessionId, Committed<'a, S::State>>>,
}

impl<'a, S: LanguageModel, L: Llm + ?Sized> Engine<'a, S, L> {
    /// An engine that calls the LLM on threads of `scope`. They end after the engine is dropped
    /// and the last call has ended.
    pub fn new(
        scope: &'a Scope<'a, '_>,
        pair: Pair<'a, S, L>,
        scorer: &'a dyn Scorer,
        calls: Calls,
    ) -> Self {
        let caller = |mail| Caller::threads(scope, pair.llm, pair.vocabulary, mail, calls);
        Self::with(pair, scorer, caller)
    }

    /// An engine without threads. A turn makes all its requests to the LLM in one call and
    /// waits for it.
    pub fn inline(pair: Pair<'a, S, L>, scorer: &'a dyn Scorer) -> Self {
        Self::with(pair, scorer, |mail| Caller::inline(pair.llm, pair.vocabulary, mail))
    }

    fn with(
        pair: Pair<'a, S, L>,
        scorer: &'a dyn Scorer,
        caller: impl FnOnce(Sender<Mail>) -> Caller<'a, L>,
    ) -> Self {
        let (sender, mail) = channel();
        Engine {
            pair,
            scorer,
            prefill: usize::MAX,
            kept: PrefixCache::new(0),
            caller: caller(sender.clone()),
            mail,
            waker: Waker { mail: sender },
            woken: false,
            sessions: Vec::new(),
            next: 0,
            savings: Savings::default(),
            left: BTreeMap::new(),
            committed: None,
        }
    }

    /// Limits prefill to this many prompt positions per turn, shared among the waiting
    /// prompts. A long prompt then delays other sessions less. The tokens do not depend
    /// on it.
    #[must_use]
    pub fn reading(mut self, positions: NonZeroUsize) -> Self {
        self.prefill = positions.get();
        self
    }

    /// Keeps up to this many positions of ended sessions in the KV cache. A prompt with
    /// the same beginning then needs prefill only for the rest. The tokens do not depend
    /// on it.
    #[must_use]
    pub fn keeping(mut self, positions: usize) -> Self {
        self.kept = PrefixCache::new(positions);
        self
    }

    /// Records the committed part of every session: see [`Engine::committed`]. The LLM then
    /// keeps the prompts, since other sessions continue from them.
    #[must_use]
    pub fn recording(mut self) -> Self {
        self.committed = Some(BTreeMap::new());
        self
    }

    /// The committed part of an ended session. Returned once, and only if it is recorded.
    pub fn committed(&mut self, id: SessionId) -> Option<Committed<'a, S::State>> {
        self.committed.as_mut()?.remove(&id)
    }

    /// A handle that interrupts a waiting turn.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Adds a session. Its first step is in the next turn.
    ///
    /// # Errors
    /// An empty prompt, a token outside the SLM's vocabulary, a prompt longer than its context, or
    /// a policy that does not go together.
    pub fn add(&mut self, session: Session) -> Result<SessionId, RuntimeError> {
        let Session { question, prompt, max_tokens, mut policy } = session;
        if prompt.is_empty() {
            return Err(RuntimeError::EmptyPrompt { question });
        }
        policy.check(self.scorer)?;
        let info = self.pair.slm.info();
        if let Some(&token) = prompt.iter().find(|&&t| t as usize >= info.vocabulary) {
            let (vocabulary, model) = (info.vocabulary, info.name.clone());
            return Err(ModelError::TokenOutOfRange { token, vocabulary, model }.into());
        }
        self.fits(prompt.len())?;
        let path = Path::new(self.pair.vocabulary, &prompt);
        let (state, held) = self.kept.fork(self.pair.slm, &prompt, prompt.len() - 1);
        policy.budget = self.savings.lend(policy.budget, max_tokens);
        Ok(self.begin(question, path, state, held, max_tokens, policy))
    }

    /// Adds a session that continues from committed tokens. `max_tokens` includes them. The
    /// trace and the budget do not.
    ///
    /// # Errors
    /// More tokens than the SLM's context, or a policy that does not go together.
    pub fn resume(
        &mut self,
        from: Committed<'a, S::State>,
        max_tokens: usize,
        policy: Policy,
    ) -> Result<SessionId, RuntimeError> {
        let Committed { question, path, mut state, .. } = from;
        policy.check(self.scorer)?;
        self.fits(path.tokens().len())?;
        self.pair.slm.truncate(&mut state, path.tokens().len() - 1);
        let held = self.pair.slm.positions(&state);
        Ok(self.begin(question, path, state, held, max_tokens, policy))
    }

    fn begin(
        &mut self,
        question: String,
        path: Path<'a>,
        state: S::State,
        held: usize,
        max_tokens: usize,
        policy: Policy,
    ) -> SessionId {
        let id = SessionId(self.next);
        self.next += 1;
        let (scorer, records) = (self.scorer, self.committed.is_some());
        self.sessions.push(RunningSession {
            id,
            begun_with: path.tokens().to_vec(),
            root: Branch::new(path, state, held, max_tokens),
            rules: Rules { question, max_tokens, policy, scorer, records },
            trace: Trace::default(),
            steps: Vec::new(),
            lookahead: Lookahead::default(),
            asked_at: None,
        });
        id
    }

    pub(crate) fn fits(&self, positions: usize) -> Result<(), ModelError> {
        let info = self.pair.slm.info();
        if positions <= info.context {
            return Ok(());
        }
        let (context, model) = (info.context, info.name.clone());
        Err(ModelError::ContextOverrun { positions, context, model })
    }

    /// Drops a session and returns its trace so far. `None` if it has ended.
    pub fn cancel(&mut self, id: SessionId) -> Option<Trace> {
        let at = self.find(id)?;
        let live = self.sessions.remove(at);
        Some(self.close(live))
    }

    fn find(&self, id: SessionId) -> Option<usize> {
        self.sessions.binary_search_by_key(&id, |live| live.id).ok()
    }

    /// Number of sessions that have not ended.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Number of LLM calls in flight or queued, abandoned ones included.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.caller.flying()
    }

    /// Handles the LLM's replies, runs one SLM step over every session that can continue, and
    /// returns the events. If no session can continue, it waits for a reply, a deadline, a
    /// [`Waker`] or `patience`, whichever comes first, and may return no event.
    pub fn turn(&mut self, patience: Duration) -> Vec<Event> {
        let until = Instant::now().checked_add(patience);
        let mut events = Vec::new();
        loop {
            self.read_mail(&mut events);
            self.ask(&mut events);
            self.hand_out(&mut events);
            // A reply's events are returned before the SLM's step.
            if !events.is_empty() {
                return events;
            }
            if self.step() {
                self.ask(&mut events);
                self.hand_out(&mut events);
                return events;
            }
            if mem::take(&mut self.woken) || !self.wait(until, &mut events) {
                return events;
            }
        }
    }

    fn read_mail(&mut self, events: &mut Vec<Event>) {
        while let Ok(message) = self.mail.try_recv() {
            self.read(message, events);
        }
        let now = Instant::now();
        for live in &mut self.sessions {
            live.check_deadline(now, &mut self.caller);
        }
    }

    fn read(&mut self, message: Mail, events: &mut Vec<Event>) {
        let (call, said) = match message {
            Mail::Wake => {
                self.woken = true;
                return;
            }
            Mail::Result(call, said) => (call, said),
        };
        let Some(session) = self.caller.landed(call) else { return };
        if let Some(at) = self.find(session) {
            self.sessions[at].receive(call, said, &mut self.caller);
            return;
        }
        let Reply { positions, bytes, .. } = said.unwrap_or_default();
        events.push(Event::Billed { session, positions, bytes });
        if !self.caller.owes(session)
            && let Some(prompt) = self.left.remove(&session)
        {
            self.caller.forget(prompt);
        }
    }

    /// Sends the calls that sessions need.
    fn ask(&mut self, events: &mut Vec<Event>) {
        let now = Instant::now();
        for live in &mut self.sessions {
            live.ask(&mut self.caller, now);
        }
        self.caller.flush();
        self.read_mail(events);
    }

    /// Commits decided tokens and removes ended sessions.
    fn hand_out(&mut self, events: &mut Vec<Event>) {
        let mut at = 0;
        while let Some(live) = self.sessions.get_mut(at) {
            let session = live.id;
            let Some(end) = live.commit(events) else {
                at += 1;
                continue;
            };
            let live = self.sessions.remove(at);
            let trace = self.close(live);
            events.push(match end {
                End::Complete => Event::Ended { session, trace },
                End::Broken(error) => Event::Failed { session, error, trace },
            });
        }
    }

    fn close(&mut self, mut live: RunningSession<'a, S::State>) -> Trace {
        let id = live.id;
        // After a failure the state is undefined.
        let broken = matches!(live.root.head, Head::Broken(_));
        live.close(&mut self.caller);
        let RunningSession { begun_with, root, rules, trace, steps, .. } = live;
        self.savings.settle(rules.policy.budget, &trace.tokens);
        let read = root.path.tokens().get(..self.pair.slm.positions(&root.state));
        if let Some(committed) = self.committed.as_mut().filter(|_| !broken) {
            let Branch { path, state, .. } = root;
            committed.insert(id, Committed { question: rules.question, path, state, steps });
            return trace;
        }
        if let Some(read) = read.filter(|_| !broken) {
            self.kept.keep(read.to_vec(), root.state);
        }
        if self.caller.owes(id) {
            self.left.insert(id, begun_with);
        } else if trace.llm_calls > 0 {
            // An LLM that was never called has no state to forget.
            self.caller.forget(begun_with);
        }
        trace
    }

    /// Waits for a message. Returns false after `patience`.
    fn wait(&mut self, until: Option<Instant>, events: &mut Vec<Event>) -> bool {
        let deadline = self.sessions.iter().filter_map(RunningSession::deadline).min();
        let message = match [until, deadline].into_iter().flatten().min() {
            Some(end) => self.mail.recv_timeout(end.saturating_duration_since(Instant::now())).ok(),
            None => self.mail.recv().ok(),
        };
        match message {
            Some(message) => {
                self.read(message, events);
                true
            }
            None => until.is_none_or(|until| Instant::now() < until),
        }
    }
}
