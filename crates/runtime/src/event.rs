//! Sessions of an engine and their events.

use tokenroute_core::{Bytes, LogProbability, TokenId, Trace, TraceToken};

use crate::{Policy, RuntimeError};

/// Identifies a session within its engine. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) u64);

/// A new session.
#[derive(Debug, Clone, PartialEq)]
pub struct Session {
    /// Id of the question, for policies that hash it. May be empty.
    pub question: String,
    /// The prompt; at least one token.
    pub prompt: Vec<TokenId>,
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// How the session is decoded.
    pub policy: Policy,
}

/// An event of one turn. A session's events come in order. [`Event::Ended`] or
/// [`Event::Failed`] is the last, except for [`Event::Billed`].
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A token was committed. It does not change any more.
    Token {
        /// The session.
        session: SessionId,
        /// The token and how it was made.
        token: TraceToken,
        /// The SLM's log-probability of it, with [`Policy::listed`].
        listed: Option<LogProbability>,
    },
    /// The answer is complete, and the session has ended.
    Ended {
        /// The session.
        session: SessionId,
        /// All tokens and their costs so far.
        trace: Trace,
    },
    /// The SLM or the scorer failed, and the session has ended.
    Failed {
        /// The session.
        session: SessionId,
        /// The error.
        error: RuntimeError,
        /// The trace up to the failure.
        trace: Trace,
    },
    /// A call of an ended session has come back. Its positions are not in the session's trace.
    Billed {
        /// The session.
        session: SessionId,
        /// Positions the LLM processed for it. 0 if it failed.
        positions: u64,
        /// Bytes sent and received for it.
        bytes: Bytes,
    },
}

impl Event {
    /// The session of the event.
    #[must_use]
    pub fn session(&self) -> SessionId {
        match self {
            Event::Token { session, .. }
            | Event::Ended { session, .. }
            | Event::Failed { session, .. }
            | Event::Billed { session, .. } => *session,
        }
    }
}
