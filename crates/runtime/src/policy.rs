//! How one session is decoded: τ, what happens while the LLM is waited for, and
//! what the session may spend.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokenroute_core::{Sampling, Tau};

use crate::Budget;

/// What a session does about the time the LLM takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// Nothing: the session stands still until the reply is there.
    #[default]
    Block,
    /// The SLM goes on from its own best candidates for the token that is on
    /// its way. If the LLM names one of them, what follows it stands; else it
    /// is rolled back. The tokens are those of [`Wait::Block`].
    Speculate {
        /// From how many of its most probable tokens the SLM goes on, at least
        /// 1; no more than the SLM's top-k.
        branches: NonZeroUsize,
        /// Most calls in flight for positions that are not committed yet.
        max_ahead: usize,
    },
    /// The LLM makes up to this many tokens per call. A policy of its own: the
    /// tokens are not those of [`Wait::Block`] unless it is 1.
    Relay {
        /// Most tokens per call.
        tokens: NonZeroUsize,
    },
}

/// How one session is decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// The threshold.
    pub tau: Tau,
    /// What happens while the LLM is waited for.
    pub wait: Wait,
    /// Longest time the committed answer waits for one reply; the SLM's token
    /// then stands, degraded as late, and the reply is dropped when it comes.
    /// `None` leaves it to the LLM.
    pub deadline: Option<Duration>,
    /// Most of the tokens that may be asked of the LLM.
    pub budget: Budget,
    /// Tokens the LLM says in each call. What follows the one it is asked for is
    /// kept and taken, without a call, where the answer turns out to go the same
    /// way and the next routed token is among them. Costs the LLM these tokens;
    /// changes no token. A relay has its own number.
    pub lookahead: NonZeroUsize,
    /// Most calls that speculation and warming may waste in one answer. `None` means no
    /// limit.
    pub max_extra: Option<u64>,
    /// Keeps the LLM's prefix cache warm with calls after the prompt, and after every N
    /// committed tokens without a call. The replies are dropped; the calls are counted.
    /// If the LLM may not be called, at τ = 0 or with a budget of 0, there are no such
    /// calls.
    pub warm: Option<NonZeroUsize>,
    /// How both models draw their tokens; greedy if `None`. The router sees the greedy
    /// step either way, and its τ and curve hold for greedy decoding alone.
    pub sampling: Option<Sampling>,
    /// Whether an LLM that fails ends the session with [`crate::RuntimeError::Llm`],
    /// instead of degrading a token: for work that has to be exact.
    pub strict: bool,
}

impl Policy {
    /// Blocking greedy decoding at τ, without deadline, budget, lookahead or warm-up. A
    /// failing LLM degrades tokens.
    #[must_use]
    pub fn new(tau: Tau) -> Self {
        Policy {
            tau,
            wait: Wait::Block,
            deadline: None,
            budget: Budget::ALL,
            lookahead: NonZeroUsize::MIN,
            max_extra: None,
            warm: None,
            sampling: None,
            strict: false,
        }
    }
}

impl Policy {
    /// Whether no token is ever asked of the LLM.
    pub(crate) fn alone(&self) -> bool {
        self.tau == Tau::SLM_ONLY || self.budget.share() == 0.0
    }

    /// Whether the LLM's tokens may stand beyond the routed one.
    pub(crate) fn relays(&self) -> bool {
        matches!(self.wait, Wait::Relay { .. })
    }
}
