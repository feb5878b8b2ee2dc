//! How much of the LLM may be spent: a share of an answer's tokens, or of all that an
//! engine makes.

use std::collections::{BTreeMap, VecDeque};

use tokenroute_core::{Origin, Score, TraceToken};

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
/// `max_tokens`), and gives back what it has left. And so that the budget goes to the tokens
/// that need it most, and not to the first that come, an answer asks only where the score is
/// below that which, over the last tokens, would have spent the share and what is saved.
///
/// The rule looks at nothing but the answer's tokens before and what it began with, so within
/// an answer it does not depend on time.
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
    /// One answer, with a credit, of which it spends nothing on scores from `below` on.
    Lent {
        credit: f64,
        below: f32,
    },
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

    /// Whether the next token may be asked, which has this score.
    pub(crate) fn allows(self, score: Score, decided: usize, asked: usize) -> bool {
        let worth = match self.of {
            Of::Answer | Of::Answers => true,
            Of::Lent { below, .. } => score.get() < below,
        };
        worth && self.grants(decided, asked, 1) > 0
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
                Of::Lent { credit, .. } => (earned + credit + 1e-9).floor(),
            };
            (asked + more) as f64 <= may
        };
        (1..=wanted).take_while(fits).count()
    }
}

/// Tokens whose scores are looked back at, at most.
const LAST: usize = 2048;
/// With fewer than these there is nothing to go by.
const FIRST: usize = 256;

/// What the answers of an engine have saved of the budgets that go over them, by share.
#[derive(Debug, Default)]
pub(crate) struct Savings(BTreeMap<u64, Saved>);

#[derive(Debug)]
struct Saved {
    /// Tokens that may be asked beyond the share of those to come.
    credit: f64,
    /// Of the last tokens.
    scores: VecDeque<f32>,
}

impl Savings {
    /// The budget of a new answer.
    pub(crate) fn lend(&mut self, budget: Budget, max_tokens: usize) -> Budget {
        if !budget.carries() {
            return budget;
        }
        let share = budget.share;
        // One token may go early, as in a single answer.
        let early = if share > 0.0 { 1.0 } else { 0.0 };
        let saved = self.0.entry(share.to_bits());
        let saved = saved.or_insert(Saved { credit: early, scores: VecDeque::new() });
        let below = saved.below(share);
        // Half, so that answers under way at the same time find something too.
        let most = (saved.credit / 2.0).min(share * max_tokens as f64).max(1.0);
        let credit = saved.credit.min(most).max(0.0);
        saved.credit -= credit;
        Budget { share, of: Of::Lent { credit, below } }
    }

    /// Takes back what an answer has left.
    pub(crate) fn settle(&mut self, budget: Budget, answer: &[TraceToken]) {
        if let (Of::Lent { credit, .. }, Some(saved)) =
            (budget.of, self.0.get_mut(&budget.share.to_bits()))
        {
            let asked = answer.iter().filter(|token| token.origin != Origin::Slm).count();
            saved.credit += credit + budget.share * answer.len() as f64 - asked as f64;
            saved.scores.extend(answer.iter().map(|token| token.score));
            let gone = saved.scores.len().saturating_sub(LAST);
            saved.scores.drain(..gone);
        }
    }
}

impl Saved {
    /// The score below which the last tokens would have spent the share and the credit.
    fn below(&self, share: f64) -> f32 {
        let rank = (share * self.scores.len() as f64 + self.credit) as usize;
        if self.scores.len() < FIRST || rank >= self.scores.len() {
            return f32::INFINITY;
        }
        let mut scores: Vec<f32> = self.scores.iter().copied().collect();
        *scores.select_nth_unstable_by(rank, f32::total_cmp).1
    }
}

/// A share outside [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the offload budget is {0}; expected a share from 0 (the SLM alone) to 1 (no limit)")]
pub struct BudgetError(pub f64);
