//! What an answer may become: tokens that are decided one after the other, up
//! to one that is on its way from the LLM, and from there the branches that the
//! SLM goes on with in the meantime.

use std::collections::VecDeque;
use std::time::Instant;

use tokenroute_core::{Score, Scorer, Step, TokenId, TraceToken};

use crate::calls::CallId;
use crate::lookahead::Lookahead;
use crate::{Path, Policy, RuntimeError, Wait};

/// What decides about a session's tokens.
pub(crate) struct Rules<'a> {
    pub(crate) question: String,
    pub(crate) max_tokens: usize,
    pub(crate) policy: Policy,
    pub(crate) scorer: &'a dyn Scorer,
    /// Whether the SLM's steps are kept.
    pub(crate) records: bool,
}

/// A decided token that is not committed yet.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) token: TraceToken,
    /// Kept for want of budget.
    pub(crate) held: bool,
    /// Came after the routed one, in the same call.
    pub(crate) relayed: bool,
    /// What the SLM said there, if that is recorded.
    pub(crate) step: Option<Step>,
}

impl Made {
    /// The same, once it turns out that it was decided ahead of the answer.
    pub(crate) fn ahead(mut self) -> Self {
        self.token.speculated = true;
        self
    }
}

/// A run of decided tokens and what comes after it.
pub(crate) struct Branch<'v, S> {
    /// Prompt and all tokens decided so far, this branch's last.
    pub(crate) path: Path<'v>,
    pub(crate) state: S,
    /// Tokens that the SLM has not processed yet.
    pub(crate) pending: Vec<TokenId>,
    /// Tokens after the path that the LLM has named already; what the SLM says
    /// before each is not known yet.
    pub(crate) relayed: VecDeque<TokenId>,
    pub(crate) made: Vec<Made>,
    /// Tokens of the path that were asked of the LLM.
    pub(crate) asked: usize,
    /// The SLM's probability that the answer goes this way.
    likelihood: f32,
    /// What went into it while it was ahead of the committed answer.
    pub(crate) spent: Spent,
    pub(crate) head: Head<'v, S>,
}

/// The end of a branch.
pub(crate) enum Head<'v, S> {
    /// The SLM is to process what is pending.
    Open,
    /// The LLM's token is wanted.
    Routed(Box<Routed<'v, S>>),
    /// The answer is complete.
    Closed,
    /// Decoding cannot go on.
    Broken(RuntimeError),
}

/// A position whose token the LLM is to make.
pub(crate) struct Routed<'v, S> {
    pub(crate) step: Step,
    /// What the SLM says there, drawn or greedy.
    pub(crate) own: TokenId,
    /// `None` if the scorer wants to know the LLM's token first.
    pub(crate) score: Option<Score>,
    pub(crate) ask: AskState,
    /// Since when the committed answer waits here.
    pub(crate) since: Option<Instant>,
    /// How often the committed answer had stood still when the call was sent.
    pub(crate) sent: u64,
    /// Most tokens wanted.
    pub(crate) tokens: usize,
    /// By the token they go on with.
    pub(crate) branches: Vec<(TokenId, Branch<'v, S>)>,
}

/// How far the question to the LLM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskState {
    /// Not asked.
    Open,
    /// On its way.
    Waiting(CallId),
    /// A speculative call failed. It is sent again once the answer waits for it, as
    /// without speculation.
    Failed,
}

/// Work for a branch that may yet be dropped.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Positions the SLM processed.
    pub(crate) slm_positions: u64,
    /// Calls that the LLM has answered, and the positions it processed for them.
    pub(crate) llm_calls: u64,
    pub(crate) llm_positions: u64,
}

impl Spent {
    pub(crate) fn add(&mut self, other: Spent) {
        self.slm_positions += other.slm_positions;
        self.llm_calls += other.llm_calls;
        self.llm_positions += other.llm_positions;
    }
}

/// What was given up when the LLM's token came.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    /// Calls that have not come back.
    pub(crate) calls: Vec<CallId>,
    pub(crate) spent: Spent,
}

impl AskState {
    /// The call that is on its way.
    pub(crate) fn call(self) -> Option<CallId> {
        match self {
            AskState::Waiting(call) => Some(call),
            AskState::Open | AskState::Failed => None,
        }
    }
}

impl<S> Head<'_, S> {
    /// Adds up what goes with everything from here on.
    pub(crate) fn give_up(self, dropped: &mut Dropped) {
        if let Head::Routed(routed) = self {
            dropped.calls.extend(routed.ask.call());
            for (_, branch) in routed.branches {
                dropped.spent.add(branch.spent);
                branch.head.give_up(dropped);
            }
        }
    }
}

impl<'v, S: Clone> Branch<'v, S> {
    /// The start of an answer. `state` holds its first `held` positions.
    pub(crate) fn new(path: Path<'v>, state: S, held: usize, max_tokens: usize) -> Self {
        Branch {
            pending: path.tokens()[held..].to_vec(),
            head: if path.closed(max_tokens) { Head::Closed } else { Head::Open },
            path,
            state,
            relayed: VecDeque::new(),
            made: Vec::new(),
            asked: 0,
            likelihood: 1.0,
            spent: Spent::default(),
        }
    }

    /// Index into `pending[..tokens]` from which the SLM's steps are wanted.
    pub(crate) fn from(&self, tokens: usize) -> usize {
        if self.relayed.is_empty() { tokens - 1 } else { 0 }
    }

    /// Number of tokens of the prompt, if more than one is still to be read.
    pub(crate) fn unread(&self) -> usize {
        let reads = matches!(self.head, Head::Open) && self.relayed.is_empty();
        if reads && self.pending.len() > 1 { self.pending.len() } else { 0 }
    }

    /// Ends it with an error. Returns what is given up.
    pub(crate) fn break_off(&mut self, error: RuntimeError) -> Dropped {
        let mut dropped = Dropped::default();
        std::mem::replace(&mut self.head, Head::Broken(error)).give_up(&mut dropped);
        dropped
    }

    /// Records that the speculative call failed.
    pub(crate) fn fail(&mut self) {
        if let Head::Routed(routed) = &mut self.head {
            routed.ask = AskState::Failed;
        }
    }

    /// Branches off with the SLM's best candidates for the token on its way.
    pub(crate) fn spread(&mut self, rules: &Rules<'_>) {
        let Wait::Speculate { branches, .. } = rules.policy.wait else { return };
        let Head::Routed(routed) = &mut self.head else { return };
        // A scorer that has to know the LLM's token knows nothing yet.
        if routed.score.is_none() || !routed.branches.is_empty() {
            return;
        }
        let top = || routed.step.top.iter().map(|&(t, p)| (self.path.canonical(t), p));
        let sure = top().find(|t| t.0 == routed.own).map_or(0.0, |t| t.1);
        let mut candidates: Vec<(TokenId, f32)> = vec![(routed.own, sure)];
        for (token, p) in top() {
            if candidates.len() < branches.get() && candidates.iter().all(|c| c.0 != token) {
                candidates.push((token, p));
            }
        }
        for (token, p) in candidates {
            let mut path = self.path.clone();
            path.commit(token, &routed.step);
            let branch = Branch {
                head: if path.closed(rules.max_tokens) { Head::Closed } else { Head::Open },
                path,
                state: self.state.clone(),
                pending: vec![token],
                relayed: VecDeque::new(),
                made: Vec::new(),
                asked: self.asked + 1,
                likelihood: self.likelihood * p,
                spent: Spent::default(),
            };
            routed.branches.push((token, branch));
        }
    }

    /// The branches here and beyond that the SLM can go on with.
    pub(crate) fn open<'t>(&'t mut self, into: &mut Vec<&'t mut Self>) {
        if matches!(self.head, Head::Open) {
            into.push(self);
        } else if let Head::Routed(routed) = &mut self.head {
            for (_, branch) in &mut routed.branches {
                branch.open(into);
            }
        }
    }

    /// The branch that waits for this call, and whether it is ahead of the
    /// committed answer.
    pub(crate) fn waiting(&mut self, call: CallId) -> Option<(&mut Self, bool)> {
        let here = match &self.head {
            Head::Routed(routed) => routed.ask == AskState::Waiting(call),
            _ => false,
        };
        if here {
            return Some((self, false));
        }
        let Head::Routed(routed) = &mut self.head else { return None };
        routed
            .branches
            .iter_mut()
            .find_map(|(_, b)| b.waiting(call))
            .map(|(branch, _)| (branch, true))
    }

    /// Whether the committed answer, which ends here, waits for a call that was sent
    /// after its first `waits` waits.
    pub(crate) fn stood_still(&self, waits: u64) -> bool {
        matches!(&self.head, Head::Routed(r) if r.since.is_some() && r.sent >= waits)
    }

    /// A branch, this one or beyond, that wants a token the LLM has said already,
    /// and the call for it, if one is on its way.
    pub(crate) fn answered(
        &mut self,
        lookahead: &Lookahead,
    ) -> Option<(&mut Self, TokenId, Option<CallId>)> {
        let Head::Routed(routed) = &self.head else { return None };
        if let Some(token) = lookahead.after(self.path.answer()) {
            let call = routed.ask.call();
            return Some((self, token, call));
        }
        let Head::Routed(routed) = &mut self.head else { return None };
        routed.branches.iter_mut().find_map(|(_, branch)| branch.answered(lookahead))
    }

    /// Number of calls, answered or on their way, for what lies beyond this
    /// branch's end: what it costs if the answer goes another way.
    pub(crate) fn at_stake(&self) -> u64 {
        let Head::Routed(routed) = &self.head else { return 0 };
        let cost = |b: &Self| {
            let flying = matches!(&b.head, Head::Routed(r) if r.ask.call().is_some());
            b.spent.llm_calls + u64::from(flying) + b.at_stake()
        };
        routed.branches.iter().map(|(_, branch)| cost(branch)).sum()
    }

    /// Number of calls on their way for what lies beyond this branch's end.
    pub(crate) fn asked_ahead(&self) -> usize {
        let Head::Routed(routed) = &self.head else { return 0 };
        let waits =
            |b: &Self| matches!(&b.head, Head::Routed(r) if matches!(r.ask, AskState::Waiting(_)));
        routed.branches.iter().map(|(_, b)| usize::from(waits(b)) + b.asked_ahead()).sum()
    }

    /// Of the branches beyond this one's end that want the LLM's token and have
    /// not asked, the most likely.
    pub(crate) fn likeliest(&mut self) -> Option<&mut Self> {
        let Head::Routed(routed) = &mut self.head else { return None };
        routed
            .branches
            .iter_mut()
            .filter_map(|(_, branch)| match &branch.head {
                Head::Routed(r) if r.ask == AskState::Open => Some(branch),
                _ => branch.likeliest(),
            })
            // The first of equals, so that a run can be repeated.
            .reduce(|best, b| if b.likelihood > best.likelihood { b } else { best })
    }
}
