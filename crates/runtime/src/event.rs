//! Sessions of an engine, and the events that it reports of them.

use tokenroute_core::{Bytes, TokenId, Trace, TraceToken};

use crate::{Policy, RuntimeError};

/// Names a session within its engine; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) u64);

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

/// An event of one turn. A session's events come in order; [`Event::Ended`]
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
        /// What crossed a network for it.
        bytes: Bytes,
    },
}

impl Event {
    /// Whose it is.
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
