//! How one session is decoded: τ, the mode of waiting for the LLM, and limits.

use std::num::NonZeroUsize;
use std::time::Duration;

use tokenroute_core::{Sampling, Scorer, Tau};

use crate::Budget;

/// What a session does during a call to the LLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wait {
    /// The session waits for the reply.
    #[default]
    Block,
    /// The SLM continues from its own best candidates for the requested token. If the LLM names
    /// one of them, its continuation is kept; otherwise it is rolled back. The tokens are those
    /// of [`Wait::Block`].
    Speculate {
        /// Number of candidates, at least 1 and at most the SLM's top-k.
        branches: NonZeroUsize,
        /// Most calls in flight for positions that are not committed yet.
        max_ahead: usize,
    },
    /// The LLM makes up to this many tokens per call. With more than one token, the tokens may
    /// differ from those of [`Wait::Block`].
    Relay {
        /// Most tokens per call.
        tokens: NonZeroUsize,
    },
    /// The LLM makes the whole answer in one call, and the SLM's tokens until then are discarded.
    /// So tokens are committed when the answer is complete. If the LLM refuses or its reply cannot
    /// be used, it is not asked again in this answer.
    ///
    /// It goes with no budget and with no scorer that needs the LLM ([`Policy::check`]).
    Whole,
}

/// How one session is decoded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// The threshold.
    pub tau: Tau,
    /// What happens during a call to the LLM.
    pub wait: Wait,
    /// Longest wait of the committed answer for one reply. After that the SLM's token is kept
    /// and marked degraded as late, and the reply is dropped. With `None` only the LLM's own
    /// limits apply.
    pub deadline: Option<Duration>,
    /// Limits the share of tokens that are requested from the LLM.
    pub budget: Budget,
    /// Number of tokens the LLM makes in each call. Tokens after the requested one are used
    /// without a call if the answer takes the same path. They cost the LLM's work and change no
    /// token. A relay has its own number.
    pub lookahead: NonZeroUsize,
    /// Most calls that speculation and warming may waste in one answer. `None` means no
    /// limit.
    pub max_extra: Option<u64>,
    /// Keeps the LLM's prefix cache warm with calls after the prompt, and after every N
    /// committed tokens without a call. The replies are dropped; the calls are counted.
    /// If the LLM may not be called, at τ = 0 or with a budget of 0, there are no such
    /// calls.
    pub warm: Option<NonZeroUsize>,
    /// How both models draw their tokens. `None` is greedy. The router sees the greedy step,
    /// and its τ and curve hold for greedy decoding only.
    pub sampling: Option<Sampling>,
    /// Whether the SLM's log-probability of every token comes with it, and how many of the SLM's
    /// most probable tokens come too. It changes no token, whichever model makes it.
    pub listed: Option<usize>,
    /// Whether a failure of the LLM ends the session with [`crate::RuntimeError::Llm`]. By
    /// default it degrades a token.
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
            listed: None,
            strict: false,
        }
    }
}

impl Policy {
    /// Checks that the policy goes together, and with this scorer.
    ///
    /// # Errors
    /// Whole answers with a budget, or with a scorer that needs the LLM.
    pub fn check(&self, scorer: &dyn Scorer) -> Result<(), PolicyError> {
        if !self.begins_anew() {
            Ok(())
        } else if self.budget.share() < 1.0 {
            Err(PolicyError::WholeWithinBudget { share: self.budget.share() })
        } else if scorer.needs_llm() {
            Err(PolicyError::WholeNeedsLlm)
        } else {
            Ok(())
        }
    }

    /// Whether the LLM is never called.
    pub(crate) fn alone(&self) -> bool {
        self.tau == Tau::SLM_ONLY || self.budget.share() == 0.0
    }

    /// Whether the SLM's logits are read.
    pub(crate) fn reads_logits(&self) -> bool {
        self.sampling.is_some() || self.listed.is_some()
    }

    /// Whether tokens of the LLM after the routed one are taken as well.
    pub(crate) fn relays(&self) -> bool {
        matches!(self.wait, Wait::Relay { .. } | Wait::Whole)
    }

    /// Whether the LLM begins the answer anew.
    pub(crate) fn begins_anew(&self) -> bool {
        self.wait == Wait::Whole
    }
}

/// Parts of a policy that do not go together.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum PolicyError {
    /// A budget of tokens, and whole answers.
    #[error(
        "a budget (max_offload) of {share} counts tokens, and the LLM makes whole answers alone; leave it out"
    )]
    WholeWithinBudget {
        /// The budget's share.
        share: f64,
    },
    /// A scorer that needs the LLM's tokens, and whole answers.
    #[error(
        "the scorer needs the LLM's token at every position, and the LLM makes whole answers alone; use a scorer that does not need it"
    )]
    WholeNeedsLlm,
}
