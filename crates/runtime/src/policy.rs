//! How one session is decoded: τ, what happens while the LLM is waited for, and
//! what the session may spend.

use std::collections::BTreeMap;
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
    /// Most of the tokens that may be asked of the LLM.
    pub budget: Budget,
    /// Tokens the LLM says in each call. What follows the one it is asked for is
    /// kept and taken, without a call, where the answer turns out to go the same
    /// way and the next routed token is among them. Costs the LLM these tokens;
    /// changes no token. A relay has its own number.
    pub lookahead: NonZeroUsize,
    /// Most calls of one answer that speculation and warming may spend in vain; `None`
    /// for no limit.
    pub max_extra: Option<u64>,
    /// Keeps the LLM's prefix cache warm: asks it after the prompt at once, and
    /// after every so many committed tokens without an ask. The answers are
    /// dropped; the calls are counted. Where nothing may be asked of the LLM, at τ = 0 or
    /// with a budget of 0, it is not warmed either.
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
    /// Whether no token is ever asked of the LLM.
    pub(crate) fn alone(&self) -> bool {
        self.tau == Tau::SLM_ONLY || self.budget.share() == 0.0
    }

    /// Whether the LLM's tokens may stand beyond the routed one.
    pub(crate) fn relays(&self) -> bool {
        matches!(self.wait, Wait::Relay { .. })
    }
}

/// A share of the tokens, 0 to 1, that may be asked of the LLM: of each answer's tokens, or
/// ([`Budget::over_answers`]) of those of all answers of an engine.
///
/// The rule for one answer: with n tokens decided, k of them asked of the LLM, one more may
/// be asked iff k + 1 ≤ max(1, ⌊share · (n + 1)⌋); else the SLM's token is kept ("held").
/// So the offload ratio never exceeds the share once 1/share tokens are there, one token may
/// go early, a share of 1 changes nothing, and a share of 0 is the SLM alone. A degraded
/// token has spent its call.
///
/// Over answers, what one leaves unspent another may spend: an answer begins with a credit
/// c ≥ 0 that is lent from what has been saved, and asks iff k + 1 ≤ ⌊share · (n + 1) + c⌋.
/// Of N tokens in all, no more than 1 + share · N are asked, at any time. An answer is lent
/// half of what has been saved, or 1 if that is more, but no more than max(1, share · its
/// `max_tokens`), and gives back what it has left.
///
/// The rule looks at nothing but the answer's tokens before and its credit, so within an
/// answer it does not depend on time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    share: f64,
    of: Of,
}

/// What a share is of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    Answer,
    Answers,
    /// One answer, with a credit.
    Lent(f64),
}

impl Budget {
    /// No limit.
    pub const ALL: Budget = Budget { share: 1.0, of: Of::Answer };

    /// A share of each answer, from 0 to 1.
    ///
    /// # Errors
    /// Anything outside, NaN included.
    pub fn new(share: f64) -> Result<Self, BudgetError> {
        let of = Of::Answer;
        if (0.0..=1.0).contains(&share) {
            Ok(Budget { share, of })
        } else {
            Err(BudgetError(share))
        }
    }

    /// The same share of the tokens of all answers of an engine.
    #[must_use]
    pub fn over_answers(self) -> Self {
        Budget { of: Of::Answers, ..self }
    }

    /// The share.
    #[must_use]
    pub fn share(self) -> f64 {
        self.share
    }

    /// Whether what an answer may ask depends on the answers before it.
    #[must_use]
    pub fn carries(self) -> bool {
        self.share < 1.0 && self.of == Of::Answers
    }

    /// How many of up to `wanted` tokens in a row may be asked, after `decided`
    /// tokens of which `asked` were.
    #[must_use]
    pub fn grants(self, decided: usize, asked: usize, wanted: usize) -> usize {
        let early = if self.share > 0.0 { 1.0 } else { 0.0 };
        let fits = |more: &usize| {
            let earned = self.share * (decided + more) as f64;
            // A share that is no binary fraction must not lose a token to rounding.
            let may = match self.of {
                Of::Answer | Of::Answers => (earned + 1e-9).floor().max(early),
                Of::Lent(credit) => (earned + credit + 1e-9).floor(),
            };
            (asked + more) as f64 <= may
        };
        (1..=wanted).take_while(fits).count()
    }
}

/// What the answers of an engine have saved of the budgets that go over them, by share.
#[derive(Debug, Default)]
pub(crate) struct Savings(BTreeMap<u64, f64>);

impl Savings {
    /// The budget of a new answer.
    pub(crate) fn lend(&mut self, budget: Budget, max_tokens: usize) -> Budget {
        if !budget.carries() {
            return budget;
        }
        let share = budget.share;
        // One token may go early, as in a single answer.
        let first = if share > 0.0 { 1.0 } else { 0.0 };
        let saved = self.0.entry(share.to_bits()).or_insert(first);
        // Half, so that answers under way at the same time find something too.
        let most = (*saved / 2.0).min(share * max_tokens as f64).max(1.0);
        let credit = saved.min(most).max(0.0);
        *saved -= credit;
        Budget { share, of: Of::Lent(credit) }
    }

    /// Takes back what an answer has left, after `tokens` of which `asked` were.
    pub(crate) fn settle(&mut self, budget: Budget, tokens: usize, asked: usize) {
        if let (Of::Lent(credit), Some(saved)) =
            (budget.of, self.0.get_mut(&budget.share.to_bits()))
        {
            *saved += credit + budget.share * tokens as f64 - asked as f64;
        }
    }
}

/// A share outside [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the offload budget is {0}; expected a share from 0 (the SLM alone) to 1 (no limit)")]
pub struct BudgetError(pub f64);
