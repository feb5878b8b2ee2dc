//! The stepwise engine, the one loop of routed decoding: many sessions, each
//! with its own policy, one batched SLM step a turn, and LLM calls that stall
//! nothing but the session that waits for them.

use std::collections::BTreeMap;
use std::mem;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use tokenroute_core::{
    Detail, Feed, LanguageModel, Llm, ModelError, Scorer, TokenId, Trace, TraceToken,
};

use crate::branch::{Branch, Head, Rules};
use crate::calls::{Caller, Message};
use crate::known::Known;
use crate::live::{End, Live};
use crate::{Calls, Pair, Path, Policy, RuntimeError, advance_canonical};

/// Names a session within its engine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(u64);

/// What a new session is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Id of the question, for policies that hash it; else empty.
    pub question: String,
    /// The prompt; at least one token.
    pub prompt: Vec<TokenId>,
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// How it is decoded.
    pub policy: Policy,
}

/// What happened in a turn. A session's events come in order; [`Event::Ended`]
/// or [`Event::Failed`] is the last but for [`Event::Billed`].
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was committed. It will not be taken back.
    Token {
        /// Whose.
        session: SessionId,
        /// The token and how it was made.
        token: TraceToken,
    },
    /// The answer is complete; the session is gone.
    Ended {
        /// Whose.
        session: SessionId,
        /// All of its tokens and what they cost so far.
        trace: Trace,
    },
    /// The SLM or the scorer failed; the session is gone.
    Failed {
        /// Whose.
        session: SessionId,
        /// Why.
        error: RuntimeError,
        /// What there was until then.
        trace: Trace,
    },
    /// A call that a session had left behind when it ended has come back. Its
    /// positions are not in the trace that the session ended with.
    Billed {
        /// Whose.
        session: SessionId,
        /// Positions the LLM processed for it; 0 if it failed.
        positions: u64,
    },
}

/// Interrupts [`Engine::turn`] from another thread.
#[derive(Debug, Clone)]
pub struct Waker {
    mail: Sender<Message>,
}

impl Waker {
    /// Makes the turn that waits now, or else the next one that would, return.
    /// Does nothing once the engine is gone.
    pub fn wake(&self) {
        drop(self.mail.send(Message::Wake));
    }
}

/// Sessions on their way.
pub struct Engine<'a, S: LanguageModel, L: Llm + ?Sized> {
    pair: Pair<'a, S, L>,
    scorer: &'a dyn Scorer,
    caller: Caller<'a, L>,
    mail: Receiver<Message>,
    waker: Waker,
    woken: bool,
    /// In order of their ids.
    sessions: Vec<Live<'a, S::State>>,
    next: u64,
    /// Prompts of sessions that are gone, with calls that are not.
    left: BTreeMap<SessionId, Vec<TokenId>>,
}

impl<'a, S: LanguageModel, L: Llm + ?Sized> Engine<'a, S, L> {
    /// An engine that calls the LLM on threads of `scope`. They end when the
    /// engine is dropped and the last call has come back.
    pub fn new(
        scope: &'a Scope<'a, '_>,
        pair: Pair<'a, S, L>,
        scorer: &'a dyn Scorer,
        calls: Calls,
    ) -> Self {
        let caller = |mail| Caller::threads(scope, pair.llm, pair.vocabulary, mail, calls);
        Self::with(pair, scorer, caller)
    }

    /// An engine without threads: a turn asks the LLM all it has to, in one
    /// call, and waits for it.
    pub fn inline(pair: Pair<'a, S, L>, scorer: &'a dyn Scorer) -> Self {
        Self::with(pair, scorer, |mail| Caller::inline(pair.llm, pair.vocabulary, mail))
    }

    fn with(
        pair: Pair<'a, S, L>,
        scorer: &'a dyn Scorer,
        caller: impl FnOnce(Sender<Message>) -> Caller<'a, L>,
    ) -> Self {
        let (sender, mail) = channel();
        Engine {
            pair,
            scorer,
            caller: caller(sender.clone()),
            mail,
            waker: Waker { mail: sender },
            woken: false,
            sessions: Vec::new(),
            next: 0,
            left: BTreeMap::new(),
        }
    }

    /// A handle that interrupts a waiting turn.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Takes in a session; its first step is in the next turn.
    ///
    /// # Errors
    /// An empty prompt, a token outside the SLM's vocabulary, or a prompt longer
    /// than its context.
    pub fn add(&mut self, session: Session) -> Result<SessionId, RuntimeError> {
        let Session { question, prompt, max_tokens, policy } = session;
        if prompt.is_empty() {
            return Err(RuntimeError::EmptyPrompt { question });
        }
        let info = self.pair.slm.info();
        if let Some(&token) = prompt.iter().find(|&&t| t as usize >= info.vocabulary) {
            let (vocabulary, model) = (info.vocabulary, info.name.clone());
            return Err(ModelError::TokenOutOfRange { token, vocabulary, model }.into());
        }
        self.fits(prompt.len())?;
        let id = SessionId(self.next);
        self.next += 1;
        let path = Path::new(self.pair.vocabulary, &prompt);
        self.sessions.push(Live {
            id,
            prompt,
            root: Branch::new(path, self.pair.slm.start(), max_tokens),
            rules: Rules { question, max_tokens, policy, scorer: self.scorer },
            trace: Trace::default(),
            known: Known::default(),
            asked_at: None,
        });
        Ok(id)
    }

    fn fits(&self, positions: usize) -> Result<(), ModelError> {
        let info = self.pair.slm.info();
        if positions <= info.context {
            return Ok(());
        }
        let (context, model) = (info.context, info.name.clone());
        Err(ModelError::ContextOverrun { positions, context, model })
    }

    /// Drops a session and returns what there is of it; `None` if it is gone.
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

    /// Number of LLM calls on their way or queued, those that nobody waits for included.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.caller.flying()
    }

    /// Takes in what the LLM has answered, runs the SLM one step over every
    /// session that can go on, and tells what came of it. If none can, waits
    /// for a reply, a deadline, a [`Waker`] or `patience`, whichever is first,
    /// and may then return nothing.
    pub fn turn(&mut self, patience: Duration) -> Vec<Event> {
        let until = Instant::now().checked_add(patience);
        let mut events = Vec::new();
        loop {
            self.read_mail(&mut events);
            self.ask(&mut events);
            self.hand_out(&mut events);
            // What the LLM has said need not wait for the SLM.
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

    fn read(&mut self, message: Message, events: &mut Vec<Event>) {
        let (call, said) = match message {
            Message::Wake => {
                self.woken = true;
                return;
            }
            Message::Said(call, said) => (call, said),
        };
        let Some(session) = self.caller.landed(call) else { return };
        if let Some(at) = self.find(session) {
            self.sessions[at].receive(call, said, &mut self.caller);
            return;
        }
        let positions = said.map_or(0, |reply| reply.positions);
        events.push(Event::Billed { session, positions });
        if !self.caller.owes(session)
            && let Some(prompt) = self.left.remove(&session)
        {
            self.caller.forget(prompt);
        }
    }

    /// Sends for what is wanted from the LLM.
    fn ask(&mut self, events: &mut Vec<Event>) {
        let now = Instant::now();
        for live in &mut self.sessions {
            live.ask(&mut self.caller, now);
        }
        self.caller.flush();
        self.read_mail(events);
    }

    /// Runs the SLM one step; false if no session can go on.
    fn step(&mut self) -> bool {
        let mut sessions = mem::take(&mut self.sessions);
        let mut open: Vec<(&Rules<'_>, &mut Branch<'_, S::State>)> = Vec::new();
        for Live { rules, root, trace, .. } in &mut sessions {
            let committed = matches!(root.head, Head::Open);
            let mut branches = Vec::new();
            root.open(&mut branches);
            for branch in branches {
                let new = branch.pending.len();
                trace.slm_positions += new as u64;
                if !committed {
                    trace.speculated += new as u64;
                    branch.spent.slm_positions += new as u64;
                }
                open.push((rules, branch));
            }
        }
        let any = !open.is_empty();
        open.retain_mut(|(_, branch)| {
            let held = self.pair.slm.positions(&branch.state);
            let fits = self.fits(held + branch.pending.len());
            fits.map_err(|error| branch.head = Head::Broken(error.into())).is_ok()
        });
        let mut feeds: Vec<_> = open
            .iter_mut()
            .map(|(_, branch)| {
                let from = branch.from();
                Feed { state: &mut branch.state, tokens: &branch.pending, from }
            })
            .collect();
        let Pair { slm, vocabulary, .. } = self.pair;
        match advance_canonical(slm, vocabulary, &mut feeds, Detail::Full) {
            Ok(steps) => {
                for ((rules, branch), steps) in open.into_iter().zip(steps) {
                    branch.hear(steps, rules);
                }
            }
            Err(error) => {
                for (_, branch) in open {
                    branch.head = Head::Broken(error.clone().into());
                }
            }
        }
        self.sessions = sessions;
        any
    }

    /// Commits what is decided and sees off the sessions that have ended.
    fn hand_out(&mut self, events: &mut Vec<Event>) {
        for mut live in mem::take(&mut self.sessions) {
            let session = live.id;
            match live.commit(events) {
                None => self.sessions.push(live),
                Some(End::Complete) => {
                    let trace = self.close(live);
                    events.push(Event::Ended { session, trace });
                }
                Some(End::Broken(error)) => {
                    let trace = self.close(live);
                    events.push(Event::Failed { session, error, trace });
                }
            }
        }
    }

    fn close(&mut self, live: Live<'a, S::State>) -> Trace {
        let id = live.id;
        let (prompt, trace) = live.close(&mut self.caller);
        if self.caller.owes(id) {
            self.left.insert(id, prompt);
        } else {
            self.caller.forget(prompt);
        }
        trace
    }

    /// Waits for something to happen; false once patience is at its end.
    fn wait(&mut self, until: Option<Instant>, events: &mut Vec<Event>) -> bool {
        let deadline = self.sessions.iter().filter_map(Live::deadline).min();
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
