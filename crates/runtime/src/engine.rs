//! The stepwise engine, the one loop of routed decoding: many sessions, each
//! with its own policy, one batched SLM step a turn, and LLM calls that stall
//! nothing but the session that waits for them.
//!
//! From a thread of its own:
//!
//! ```ignore
//! std::thread::scope(|scope| {
//!     let mut engine = Engine::new(scope, pair, &scorer, Calls { threads: 16, together: 1 });
//!     let waker = engine.waker();              // Clone + Send: give it to other threads
//!     loop {
//!         for request in inbox.try_iter() {    // sessions join between turns
//!             let id = engine.add(request.session)?;
//!         }
//!         for event in engine.turn(Duration::from_secs(1)) { /* hand out */ }
//!     }
//! })                                           // ends when the last LLM call has
//! ```

use std::thread::Scope;
use std::time::Duration;

use tokenroute_core::{LanguageModel, Llm, Scorer, TokenId, Trace, TraceToken};

use crate::{Pair, Policy, RuntimeError};

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

/// How the LLM is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// Threads that call the LLM, at least 1, and so the most calls at once.
    pub threads: usize,
    /// Most asks given to [`Llm::ask`] in one call: 1 for an LLM behind a
    /// network, where one slow answer would hold up the others; many for one in
    /// process, which answers a batch at the price of one.
    pub together: usize,
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
        /// Positions the LLM processed for it.
        positions: u64,
    },
}

/// Interrupts [`Engine::turn`] from another thread.
#[derive(Debug, Clone)]
pub struct Waker {}

impl Waker {
    /// Makes the turn that waits now, or else the next one that would, return.
    /// Does nothing once the engine is gone.
    pub fn wake(&self);
}

/// Sessions on their way.
#[derive(Debug)]
pub struct Engine<'a, S: LanguageModel, L: Llm + ?Sized> {}

impl<'a, S: LanguageModel, L: Llm + ?Sized> Engine<'a, S, L> {
    /// An engine that calls the LLM on threads of `scope`. They end when the
    /// engine is dropped and the last call has come back.
    pub fn new<'env>(
        scope: &'a Scope<'a, 'env>,
        pair: Pair<'a, S, L>,
        scorer: &'a dyn Scorer,
        calls: Calls,
    ) -> Self;

    /// An engine without threads: a turn asks the LLM all it has to, in one
    /// call, and waits for it.
    pub fn inline(pair: Pair<'a, S, L>, scorer: &'a dyn Scorer) -> Self;

    /// A handle that interrupts a waiting turn.
    pub fn waker(&self) -> Waker;

    /// Takes in a session; its first step is in the next turn.
    ///
    /// # Errors
    /// An empty prompt, a token outside the SLM's vocabulary, or a prompt longer
    /// than its context.
    pub fn add(&mut self, session: Session) -> Result<SessionId, RuntimeError>;

    /// Drops a session and returns what there is of it; `None` if it is gone.
    pub fn cancel(&mut self, id: SessionId) -> Option<Trace>;

    /// Number of sessions that have not ended.
    pub fn sessions(&self) -> usize;

    /// Number of LLM calls on their way or queued, those that nobody waits for included.
    pub fn calls(&self) -> usize;

    /// Takes in what the LLM has answered, runs the SLM one step over every
    /// session that can go on, and tells what came of it. If none can, waits
    /// for a reply, a deadline, a [`Waker`] or `patience`, whichever is first,
    /// and may then return nothing.
    pub fn turn(&mut self, patience: Duration) -> Vec<Event>;
}
