//! What an answer may become: tokens that are decided one after the other, up
//! to one that is on its way from the LLM, and from there the branches that the
//! SLM goes on with in the meantime. What is decided depends on the tokens
//! before it alone, never on time.

use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use tokenroute_core::{Cause, Origin, Score, Scorer, Step, TokenId, TraceToken};

use crate::calls::CallId;
use crate::{Path, Policy, RuntimeError, Wait};

/// What decides about a session's tokens.
pub(crate) struct Rules<'a> {
    pub(crate) question: String,
    pub(crate) max_tokens: usize,
    pub(crate) policy: Policy,
    pub(crate) scorer: &'a dyn Scorer,
}

/// A decided token that is not committed yet.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) token: TraceToken,
    /// Kept for want of budget.
    pub(crate) held: bool,
    /// Came after the routed one, in the same call.
    pub(crate) relayed: bool,
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
    relayed: VecDeque<TokenId>,
    pub(crate) made: Vec<Made>,
    /// Tokens of the path that were asked of the LLM.
    asked: usize,
    /// The SLM's probability that the answer goes this way.
    likelihood: f32,
    /// Positions processed on this branch while it was ahead.
    pub(crate) ahead: u64,
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
    step: Step,
    /// `None` if the scorer wants to know the LLM's token first.
    score: Option<Score>,
    pub(crate) ask: AskState,
    /// Since when the committed answer waits here.
    pub(crate) since: Option<Instant>,
    /// Most tokens wanted.
    pub(crate) tokens: usize,
    /// By the token they go on with.
    branches: Vec<(TokenId, Branch<'v, S>)>,
}

/// How far the question to the LLM is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskState {
    /// Not asked.
    Open,
    /// On its way.
    Waiting(CallId),
    /// Asked ahead, in vain. It is asked again once the answer waits for it, as
    /// it would have been without speculation.
    Failed,
}

/// What was given up when the LLM's token came.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    pub(crate) calls: Vec<CallId>,
    /// Positions the SLM processed in vain.
    pub(crate) positions: u64,
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
                dropped.positions += branch.ahead;
                branch.head.give_up(dropped);
            }
        }
    }
}

impl<'v, S: Clone> Branch<'v, S> {
    /// The beginning of an answer.
    pub(crate) fn new(path: Path<'v>, state: S, max_tokens: usize) -> Self {
        Branch {
            pending: path.tokens().to_vec(),
            head: if path.closed(max_tokens) { Head::Closed } else { Head::Open },
            path,
            state,
            relayed: VecDeque::new(),
            made: Vec::new(),
            asked: 0,
            likelihood: 1.0,
            ahead: 0,
        }
    }

    /// Index into `pending` from which the SLM's steps are wanted.
    pub(crate) fn from(&self) -> usize {
        if self.relayed.is_empty() { self.pending.len() - 1 } else { 0 }
    }

    /// Takes in what the SLM says after each of `pending[from..]`.
    pub(crate) fn hear(&mut self, steps: Vec<Step>, rules: &Rules<'_>) {
        for step in steps {
            let heard = match self.relayed.pop_front() {
                Some(token) => self.relay(token, &step, rules),
                None => self.judge(step, rules),
            };
            if let Err(error) = heard {
                self.head = Head::Broken(error);
                return;
            }
        }
    }

    fn score(
        &self,
        step: &Step,
        llm_token: Option<TokenId>,
        rules: &Rules<'_>,
    ) -> Result<Score, RuntimeError> {
        let llm_token = llm_token.filter(|_| rules.scorer.needs_llm());
        let position = self.path.position(&rules.question, step, llm_token);
        rules.scorer.score(&position).map_err(|source| RuntimeError::Score {
            question: rules.question.clone(),
            index: position.index,
            source,
        })
    }

    /// Decides the next token or sends for it.
    fn judge(&mut self, step: Step, rules: &Rules<'_>) -> Result<(), RuntimeError> {
        let (index, policy) = (self.path.index(), &rules.policy);
        let score = match rules.scorer.needs_llm() {
            true => None,
            false => Some(self.score(&step, None, rules)?),
        };
        if let Some(score) = score {
            let keeps = !policy.tau.offloads(score);
            if keeps || policy.budget.grants(index, self.asked, 1) == 0 {
                let made = TraceToken {
                    token: step.token,
                    origin: Origin::Slm,
                    slm_token: step.token,
                    score: score.get(),
                    cause: None,
                };
                self.decide(Made { token: made, held: !keeps, relayed: false }, &step, rules);
                return Ok(());
            }
        }
        let most = match policy.wait {
            Wait::Relay { tokens } => tokens.get().min(rules.max_tokens - index),
            Wait::Block | Wait::Speculate { .. } => 1,
        };
        let tokens = policy.budget.grants(index, self.asked, most).max(1);
        let (ask, branches) = (AskState::Open, Vec::new());
        let routed = Routed { step, score, ask, since: None, tokens, branches };
        self.head = Head::Routed(Box::new(routed));
        Ok(())
    }

    /// Takes a token that the LLM named together with the routed one.
    fn relay(
        &mut self,
        token: TokenId,
        step: &Step,
        rules: &Rules<'_>,
    ) -> Result<(), RuntimeError> {
        let score = self.score(step, Some(token), rules)?;
        let (origin, cause) = (Origin::Llm, None);
        let made = TraceToken { token, origin, slm_token: step.token, score: score.get(), cause };
        self.asked += 1;
        self.decide(Made { token: made, held: false, relayed: true }, step, rules);
        Ok(())
    }

    /// Appends a token; the SLM is to process it unless it closes the answer.
    fn decide(&mut self, mut made: Made, step: &Step, rules: &Rules<'_>) {
        made.token.token = self.path.commit(made.token.token, step);
        self.pending = vec![made.token.token];
        self.made.push(made);
        self.head = if self.path.closed(rules.max_tokens) { Head::Closed } else { Head::Open };
    }

    /// Goes on with what the LLM said, or without it, and with the branch that
    /// foresaw it if there is one. Returns what is given up; nothing changes
    /// where the LLM was not asked.
    pub(crate) fn settle(
        &mut self,
        said: Result<Vec<TokenId>, Cause>,
        rules: &Rules<'_>,
    ) -> Dropped {
        let mut dropped = Dropped::default();
        let routed = match mem::replace(&mut self.head, Head::Open) {
            Head::Routed(routed) => *routed,
            other => {
                self.head = other;
                return dropped;
            }
        };
        let Routed { step, score, branches, tokens, .. } = routed;
        let mut said = said.map(|run| {
            let ends = |t: &TokenId| self.path.ends(*t);
            let length = run.iter().position(ends).map_or(run.len(), |end| end + 1);
            let run = run.into_iter().take(length.min(tokens));
            VecDeque::from_iter(run.map(|t| self.path.canonical(t)))
        });
        let first = match &mut said {
            Ok(run) => run.pop_front().ok_or(Cause::BadReply),
            Err(cause) => Err(*cause),
        };
        let score = match score.map_or_else(|| self.score(&step, first.ok(), rules), Ok) {
            Ok(score) => score,
            Err(error) => {
                self.head = Head::Broken(error);
                return dropped;
            }
        };
        // Only a scorer that needs the LLM's token can have it and keep the SLM's.
        let routes = rules.policy.tau.offloads(score);
        let granted = rules.policy.budget.grants(self.path.index(), self.asked, 1) > 0;
        let (token, origin, cause) = match first {
            Err(cause) => (step.token, Origin::Degraded, Some(cause)),
            Ok(token) if routes && granted => (token, Origin::Llm, None),
            Ok(_) => (step.token, Origin::Slm, None),
        };
        self.asked += usize::from(origin != Origin::Slm);
        let made = TraceToken { token, origin, slm_token: step.token, score: score.get(), cause };
        let held = origin == Origin::Slm && routes;
        self.decide(Made { token: made, held, relayed: false }, &step, rules);

        let token = self.path.previous();
        for (first, branch) in branches {
            if first == token {
                self.made.extend(branch.made);
                self.path = branch.path;
                self.state = branch.state;
                self.pending = branch.pending;
                self.ahead += branch.ahead;
                self.head = branch.head;
            } else {
                dropped.positions += branch.ahead;
                branch.head.give_up(&mut dropped);
            }
        }
        if origin == Origin::Llm
            && let Ok(run) = said
        {
            self.follow(run, rules.max_tokens);
        }
        dropped
    }

    /// Lets the SLM process a run of tokens that are the LLM's.
    fn follow(&mut self, run: VecDeque<TokenId>, max_tokens: usize) {
        let Some(&last) = run.back() else { return };
        self.pending.extend(&run);
        // Nothing is asked about what comes after the end.
        if self.path.ends(last) || self.path.index() + run.len() >= max_tokens {
            self.pending.pop();
        }
        self.relayed = run;
    }

    /// Records that asking ahead was in vain.
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
        let (own, sure) = (routed.step.token, routed.step.max_probability());
        let others = routed.step.top.iter().map(|&(t, p)| (self.path.canonical(t), p));
        let mut candidates: Vec<(TokenId, f32)> = vec![(own, sure)];
        for (token, p) in others {
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
                ahead: 0,
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
