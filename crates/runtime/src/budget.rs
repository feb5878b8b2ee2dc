//! Limits the LLM's share of the tokens, of each answer or of all answers of an engine.

use std::collections::{BTreeMap, VecDeque};

use tokenroute_core::{Origin, Score, TraceToken};

/// The largest share of tokens, 0 to 1, that may be requested from the LLM: of each answer, or
/// ([`Budget::over_answers`]) of all answers of an engine.
///
/// The rule for one answer: let n tokens be decided, k of them requested from the LLM. One more
/// may be requested iff k + 1 ≤ max(1, ⌊share · (n + 1)⌋). Otherwise the SLM's token is kept
/// ("held"). So one token may be requested early, and the offload ratio never exceeds the share
/// after 1/share tokens. A share of 1 is no limit; a share of 0 is the SLM alone. A degraded
/// token counts as requested.
///
/// Over answers, an answer may use the share that earlier ones left. It begins with a credit c
/// ≥ 0, lent from the savings, and requests iff k + 1 ≤ ⌊share · (n + 1) + c⌋. Of N tokens in
/// total, at most 1 + share · N are requested, at any time. The loan is half of the savings, or
/// 1 if that is more, and at most max(1, share · `max_tokens`). The answer returns the rest. An
/// answer requests only tokens with a score below a limit. That limit is the score that would
/// have spent share and savings over the last tokens, so the budget goes to the lowest scores.
///
/// The rule depends only on the answer's earlier tokens and its loan. So within an answer it
/// does not depend on time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    share: f64,
    of: Of,
}

/// The tokens that a share refers to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Of {
    Answer,
    Answers,
    /// One answer with a credit. It spends nothing on scores of `below` or more.
    Lent {
        credit: f64,
        below: f64,
    },
}

impl Budget {
    /// No limit.
    pub const ALL: Budget = Budget { share: 1.0, of: Of::Answer };

    /// A share of each answer, from 0 to 1.
    ///
    /// # Errors
    /// A share outside [0, 1], or NaN.
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

    /// Whether an answer's limit depends on the answers before it.
    #[must_use]
    pub fn carries(self) -> bool {
        self.share < 1.0 && self.of == Of::Answers
    }

    /// Whether the next token, with this score, may be requested.
    pub(crate) fn allows(self, score: Score, decided: usize, asked: usize) -> bool {
        let worth = match self.of {
            Of::Answer | Of::Answers => true,
            Of::Lent { below, .. } => score.get() < below,
        };
        worth && self.grants(decided, asked, 1) > 0
    }

    /// How many of up to `wanted` tokens in a row may be requested, after `decided` tokens of
    /// which `asked` were requested.
    #[must_use]
    pub fn grants(self, decided: usize, asked: usize, wanted: usize) -> usize {
        let early = if self.share > 0.0 { 1.0 } else { 0.0 };
        let fits = |more: &usize| {
            let earned = self.share * (decided + more) as f64;
            // A share that has no exact binary form must not lose a token to rounding.
            let may = match self.of {
                Of::Answer | Of::Answers => (earned + 1e-9).floor().max(early),
                Of::Lent { credit, .. } => (earned + credit + 1e-9).floor(),
            };
            (asked + more) as f64 <= may
        };
        (1..=wanted).take_while(fits).count()
    }
}

/// Number of recent scores that are remembered.
const LAST: usize = 2048;
/// With fewer scores there is no limit by score.
const FIRST: usize = 256;

/// Unused budget of an engine's answers, by share.
#[derive(Debug, Default)]
pub(crate) struct Savings(BTreeMap<u64, Saved>);

#[derive(Debug)]
struct Saved {
    /// Tokens that may be requested beyond the share of future tokens.
    credit: f64,
    /// Scores of the last tokens.
    scores: VecDeque<f64>,
}

impl Savings {
    /// The budget of a new answer.
    pub(crate) fn lend(&mut self, budget: Budget, max_tokens: usize) -> Budget {
        if !budget.carries() {
            return budget;
        }
        let share = budget.share;
        // One token may be requested early, as in a single answer.
        let early = if share > 0.0 { 1.0 } else { 0.0 };
        let saved = self.0.entry(share.to_bits());
        let saved = saved.or_insert(Saved { credit: early, scores: VecDeque::new() });
        let below = saved.below(share);
        // Half, so that concurrent answers find some too.
        let most = (saved.credit / 2.0).min(share * max_tokens as f64).max(1.0);
        let credit = saved.credit.min(most).max(0.0);
        saved.credit -= credit;
        Budget { share, of: Of::Lent { credit, below } }
    }

    /// Takes back the unused part of an answer's loan.
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
    fn below(&self, share: f64) -> f64 {
        let rank = (share * self.scores.len() as f64 + self.credit) as usize;
        if self.scores.len() < FIRST || rank >= self.scores.len() {
            return f64::INFINITY;
        }
        let mut scores: Vec<f64> = self.scores.iter().copied().collect();
        *scores.select_nth_unstable_by(rank, f64::total_cmp).1
    }
}

/// A share outside [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("the offload budget is {0}; expected a share from 0 (the SLM alone) to 1 (no limit)")]
pub struct BudgetError(pub f64);
