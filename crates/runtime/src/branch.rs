//! The undecided part of an answer: decided tokens, the position that waits for the LLM, and
//! the branches that the SLM decodes meanwhile.

use std::collections::VecDeque;
use std::time::Instant;

use tokenroute_core::{Cause, LogProbability, Scored, Scorer, Step, TokenId, TraceToken};

use crate::calls::CallId;
use crate::lookahead::Lookahead;
use crate::{Path, Policy, RuntimeError, Wait};

/// Inputs of a session's decisions.
pub(crate) struct Rules<'a> {
    pub(crate) question: String,
    pub(crate) max_tokens: usize,
    pub(crate) policy: Policy,
    pub(crate) scorer: &'a dyn Scorer,
    /// Whether the SLM's steps are recorded.
    pub(crate) records: bool,
}

/// A decided token that is not committed yet.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) token: TraceToken,
    /// The router chose to offload, but the budget did not allow it.
    pub(crate) held: bool,
    /// Came in the same call as the routed token before it.
    pub(crate) relayed: bool,
    /// The SLM's step, if steps are recorded.
    pub(crate) step: Option<Step>,
    /// The SLM's log-probability of the token, if it is listed.
    pub(crate) listed: Option<LogProbability>,
}

impl Made {
    /// A token without step and log-probability, which come when it is appended.
    pub(crate) fn new(token: TraceToken, held: bool, relayed: bool) -> Self {
        Made { token, held, relayed, step: None, listed: None }
    }

    /// Marks the token as decided ahead of the answer.
    pub(crate) fn ahead(mut self) -> Self {
        self.token.speculated = true;
        self
    }
}

/// A run of decided tokens and its head.
pub(crate) struct Branch<'v, S> {
    /// Prompt and decided tokens, the tokens of this branch included.
    pub(crate) path: Path<'v>,
    pub(crate) state: S,
    /// Tokens that the SLM has not processed yet.
    pub(crate) pending: Vec<TokenId>,
    /// Tokens after the path that the LLM has already named. The SLM has not stepped there yet.
    pub(crate) relayed: VecDeque<TokenId>,
    pub(crate) made: Vec<Made>,
    /// Where the answer begins, if the LLM may begin it anew.
    pub(crate) start: Option<Box<Start<'v, S>>>,
    /// Whether the LLM has made the whole answer.
    pub(crate) whole: bool,
    /// Why the LLM will not make the whole answer. It is not asked for it again.
    pub(crate) declined: Option<Cause>,
    /// Number of tokens of the path that were requested from the LLM.
    pub(crate) asked: usize,
    /// The SLM's probability of this branch.
    likelihood: f32,
    /// Work spent while the branch was ahead of the committed answer.
    pub(crate) spent: Spent,
    pub(crate) head: Head<'v, S>,
}

/// The first position of an answer.
#[derive(Clone)]
pub(crate) struct Start<'v, S> {
    pub(crate) path: Path<'v>,
    pub(crate) state: S,
    pub(crate) step: Step,
    /// The SLM's token there.
    pub(crate) own: TokenId,
}

/// The end of a branch.
pub(crate) enum Head<'v, S> {
    /// The SLM processes the pending tokens next.
    Open,
    /// Waits for the LLM's token.
    Routed(Box<Routed<'v, S>>),
    /// The answer is complete.
    Closed,
    /// Decoding cannot go on.
    Broken(RuntimeError),
}

/// A position that is offloaded.
pub(crate) struct Routed<'v, S> {
    pub(crate) step: Step,
    /// The SLM's token there, drawn or greedy.
    pub(crate) own: TokenId,
    /// `None` if the scorer needs the LLM's token first.
    pub(crate) scored: Option<Scored>,
    pub(crate) ask: AskState,
    /// When the committed answer began to wait here.
    pub(crate) since: Option<Instant>,
    /// Number of earlier waits of the committed answer when the call was sent.
    pub(crate) sent: u64,
    /// Most tokens requested.
    pub(crate) tokens: usize,
    /// Continuations, by their first token.
    pub(crate) branches: Vec<(TokenId, Branch<'v, S>)>,
}

/// State of the request to the LLM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskState {
    /// Not sent.
    Open,
    /// In flight.
    Waiting(CallId),
    /// A speculative call failed. It is sent again when the committed answer waits for it, as
    /// without speculation.
    Failed,
}

/// Work for a branch that may be dropped.
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

/// Work given up when the LLM's token came.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    /// Calls in flight.
    pub(crate) calls: Vec<CallId>,
    pub(crate) spent: Spent,
    /// Positions of an answer that the LLM begins anew.
    pub(crate) discarded: u64,
}

impl AskState {
    /// The call in flight.
    pub(crate) fn call(self) -> Option<CallId> {
        match self {
            AskState::Waiting(call) => Some(call),
            AskState::Open | AskState::Failed => None,
        }
    }
}

impl<S> Head<'_, S> {
    /// Adds the calls and work of this head and of all branches beyond it.
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
            start: None,
            whole: false,
            declined: None,
            asked: 0,
            likelihood: 1.0,
            spent: Spent::default(),
        }
    }

    /// Index into `pending[..tokens]` from which the SLM's steps are needed.
    pub(crate) fn from(&self, tokens: usize) -> usize {
        if self.relayed.is_empty() { tokens - 1 } else { 0 }
    }

    /// Number of prompt tokens left to prefill, if more than one.
    pub(crate) fn unread(&self) -> usize {
        let reads = matches!(self.head, Head::Open) && self.relayed.is_empty();
        if reads && self.pending.len() > 1 { self.pending.len() } else { 0 }
    }

    /// Ends the branch with an error. Returns the work given up.
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

    /// Branches off with the SLM's best candidates for the requested token.
    pub(crate) fn spread(&mut self, rules: &Rules<'_>) {
        let Wait::Speculate { branches, .. } = rules.policy.wait else { return };
        let Head::Routed(routed) = &mut self.head else { return };
        // A scorer that needs the LLM's token has not chosen yet.
        if routed.scored.is_none() || !routed.branches.is_empty() {
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
            path.commit(token, &routed.step, routed.scored.as_ref());
            if !rules.records {
                path.keep_last_state();
            }
            let branch = Branch {
                head: if path.closed(rules.max_tokens) { Head::Closed } else { Head::Open },
                path,
                state: self.state.clone(),
                pending: vec![token],
                relayed: VecDeque::new(),
                made: Vec::new(),
                start: None,
                whole: false,
                declined: None,
                asked: self.asked + 1,
                likelihood: self.likelihood * p,
                spent: Spent::default(),
            };
            routed.branches.push((token, branch));
        }
    }

    /// Collects the branches, from here on, that the SLM can decode.
    pub(crate) fn open<'t>(&'t mut self, into: &mut Vec<&'t mut Self>) {
        if matches!(self.head, Head::Open) {
            into.push(self);
        } else if let Head::Routed(routed) = &mut self.head {
            for (_, branch) in &mut routed.branches {
                branch.open(into);
            }
        }
    }

    /// The branch that waits for this call, and whether it is ahead of the committed answer.
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

    /// Whether the committed answer ends here and waits for a call that was sent after its
    /// first `waits` waits.
    pub(crate) fn stood_still(&self, waits: u64) -> bool {
        matches!(&self.head, Head::Routed(r) if r.since.is_some() && r.sent >= waits)
    }

    /// A branch, from here on, whose requested token the LLM has already named, and its call in
    /// flight, if any.
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

    /// Number of calls, answered or in flight, beyond this branch's end. They are wasted if the
    /// answer takes another path.
    pub(crate) fn at_stake(&self) -> u64 {
        let Head::Routed(routed) = &self.head else { return 0 };
        let cost = |b: &Self| {
            let flying = matches!(&b.head, Head::Routed(r) if r.ask.call().is_some());
            b.spent.llm_calls + u64::from(flying) + b.at_stake()
        };
        routed.branches.iter().map(|(_, branch)| cost(branch)).sum()
    }

    /// Number of calls in flight beyond this branch's end.
    pub(crate) fn asked_ahead(&self) -> usize {
        let Head::Routed(routed) = &self.head else { return 0 };
        let waits =
            |b: &Self| matches!(&b.head, Head::Routed(r) if matches!(r.ask, AskState::Waiting(_)));
        routed.branches.iter().map(|(_, b)| usize::from(waits(b)) + b.asked_ahead()).sum()
    }

    /// The most likely branch beyond this one's end that needs the LLM's token and has sent no
    /// call.
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
