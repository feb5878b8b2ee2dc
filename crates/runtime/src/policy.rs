//! How one session is decoded: τ, what happens while the LLM is waited for, and
//! what the session may spend.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokenroute_core::{Sampling, Tau};

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
    /// Most of the answer's tokens that may be asked of the LLM.
    pub budget: Budget,
    /// Tokens the LLM says in each call. What follows the one it is asked for is
    /// kept and taken, without a call, where the answer turns out to go the same
    /// way and the next routed token is among them. Costs the LLM these tokens;
    /// changes no token. A relay has its own number.
    pub lookahead: NonZeroUsize,
    /// Most calls of one answer that speculation may spend in vain; `None` for no
    /// limit.
    pub max_extra: Option<u64>,
    /// Keeps the LLM's prefix cache warm: asks it after the prompt at once, and
    /// after every so many committed tokens without an ask. The answers are
    /// dropped; the calls are counted.
    pub warm: Option<NonZeroUsize>,
    /// How both models draw their tokens; greedy if `None`. The router sees the greedy
    /// step either way, and its τ and curve hold for greedy decoding alone.
    pub sampling: Option<Sampling>,
}

impl Policy {
    /// Blocking greedy decoding at τ, without deadline, budget, lookahead or warm-up.
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
        }
    }
}

impl Policy {
    /// Whether the LLM's tokens may stand beyond the routed one.
    pub(crate) fn relays(&self) -> bool {
        matches!(self.wait, Wait::Relay { .. })
    }
}

/// A share of an answer's tokens, 0 to 1, that may be asked of the LLM.
///
/// The rule: with n tokens decided, k of them asked of the LLM, one more may be
/// asked iff k + 1 ≤ max(1, ⌊share · (n + 1)⌋); else the SLM's token is kept
/// ("held"). So the offload ratio never exceeds the share once 1/share tokens
/// are there, one token may go early, a share of 1 changes nothing, and a share
/// of 0 is the SLM alone. A degraded token has spent its call. The rule looks
/// at nothing but the tokens before, so it does not depend on time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget(f64);

impl Budget {
    /// No limit.
    pub const ALL: Budget = Budget(1.0);

    /// A share from 0 to 1.
    ///
    /// # Errors
    /// Anything outside, NaN included.
    pub fn new(share: f64) -> Result<Self, BudgetError> {
        if (0.0..=1.0).contains(&share) { Ok(Budget(share)) } else { Err(BudgetError(share)) }
    }

    /// The share.
    #[must_use]
    pub fn share(self) -> f64 {
        self.0
    }

    /// How many of up to `wanted` tokens in a row may be asked, after `decided`
    /// tokens of which `asked` were.
    #[must_use]
    pub fn grants(self, decided: usize, asked: usize, wanted: usize) -> usize {
        let fits = |more: &usize| {
            // A share that is no binary fraction must not lose a token to rounding.
            let earned = (self.0 * (decided + more) as f64 + 1e-9).floor();
            let early = if self.0 > 0.0 { 1.0 } else { 0.0 };
            (asked + more) as f64 <= earned.max(early)
        };
        (1..=wanted).take_while(fits).count()
    }
}

/// A share outside [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the offload budget is {0}; expected a share from 0 (the SLM alone) to 1 (no limit)")]
pub struct BudgetError(pub f64);
