//! A running session: its committed answer, the branches after it, and its costs.

use std::time::Instant;

use tokenroute_core::{Bytes, Llm, LlmError, Step, TokenId, Trace};

use crate::branch::{AskState, Branch, Dropped, Head, Routed, Rules};
use crate::calls::{CallId, CallResult, Caller, Wanted};
use crate::lookahead::Lookahead;
use crate::{Event, RuntimeError, SessionId, Wait};

/// One session.
pub(crate) struct RunningSession<'a, S> {
    pub(crate) id: SessionId,
    /// The initial tokens: a prompt, or a prompt and committed tokens.
    pub(crate) begun_with: Vec<TokenId>,
    pub(crate) rules: Rules<'a>,
    /// The committed answer. Its head holds the branches after it.
    pub(crate) root: Branch<'a, S>,
    pub(crate) trace: Trace,
    /// The SLM's steps along it, if they are recorded.
    pub(crate) steps: Vec<Step>,
    /// Unused tokens of the LLM's replies.
    pub(crate) lookahead: Lookahead,
    /// Length of the answer at the last call for its end.
    pub(crate) asked_at: Option<usize>,
}

/// How a session ended.
pub(crate) enum End {
    Complete,
    Broken(RuntimeError),
}

impl<S: Clone> RunningSession<'_, S> {
    fn waits(&self) -> Option<&Routed<'_, S>> {
        match &self.root.head {
            Head::Routed(routed) => Some(routed),
            _ => None,
        }
    }

    /// When the committed answer stops waiting for the LLM.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let since = self.waits()?.since?;
        since.checked_add(self.rules.policy.deadline?)
    }

    /// Sends calls for the tokens that are requested from the LLM.
    pub(crate) fn ask<L: Llm + ?Sized>(&mut self, caller: &mut Caller<'_, L>, now: Instant) {
        self.recall(caller);
        let Head::Routed(routed) = &mut self.root.head else { return self.warm(caller) };
        let first = routed.since.is_none();
        routed.since.get_or_insert(now);
        match routed.ask {
            AskState::Waiting(call) if first => caller.hurry(call),
            AskState::Waiting(_) => {}
            AskState::Open | AskState::Failed => {
                send(&mut self.root, self.id, caller, &mut self.trace, &self.rules, true);
            }
        }
        self.asked_at = Some(self.root.path.index());
        let Wait::Speculate { max_ahead, .. } = self.rules.policy.wait else { return };
        self.root.spread(&self.rules);
        for _ in self.root.asked_ahead()..max_ahead {
            if !self.may_waste() {
                return;
            }
            let Some(branch) = self.root.likeliest() else { return };
            send(branch, self.id, caller, &mut self.trace, &self.rules, false);
            branch.spread(&self.rules);
        }
    }

    /// Takes the requested tokens that earlier replies of the LLM already contain. A call
    /// on its way for such a token is then wasted; it counted as possibly wasted when it
    /// was sent.
    fn recall<L: Llm + ?Sized>(&mut self, caller: &mut Caller<'_, L>) {
        while let Some((branch, token, call)) = self.root.answered(&self.lookahead) {
            let mut dropped = branch.settle(Ok(vec![token]), None, &self.rules);
            dropped.calls.extend(call);
            self.write_off(dropped, caller);
        }
    }

    /// Whether one more call may be wasted.
    fn may_waste(&self) -> bool {
        let at_stake = || self.trace.wasted_calls + self.root.at_stake();
        self.rules.policy.max_extra.is_none_or(|most| at_stake() < most)
    }

    /// Lets the LLM prefill the committed tokens although none is routed.
    fn warm<L: Llm + ?Sized>(&mut self, caller: &mut Caller<'_, L>) {
        let (Some(every), Head::Open) = (self.rules.policy.warm, &self.root.head) else { return };
        // An answer that the LLM makes anew shares no prefix with the SLM's.
        let useless = self.rules.policy.alone() || self.rules.policy.begins_anew();
        // The LLM has named the tokens of a run.
        if useless || !self.root.relayed.is_empty() || !self.may_waste() {
            return;
        }
        let length = self.root.path.index();
        if self.asked_at.is_none_or(|at| length - at >= every.get()) {
            let wanted = Wanted { tokens: 1, sampling: self.rules.policy.sampling, top: 0 };
            caller.submit(self.id, self.root.path.tokens(), wanted, false);
            self.trace.llm_calls += 1;
            self.trace.wasted_calls += 1;
            self.asked_at = Some(length);
        }
    }

    /// Handles the result of a call.
    pub(crate) fn receive<L: Llm + ?Sized>(
        &mut self,
        call: CallId,
        said: CallResult,
        caller: &mut Caller<'_, L>,
    ) {
        let positions = said.as_ref().map_or(0, |reply| reply.positions);
        self.trace.llm_positions += positions;
        self.trace.bytes += said.as_ref().map_or(Bytes::default(), |reply| reply.bytes);
        let Some((branch, ahead)) = self.root.waiting(call) else {
            self.trace.wasted_positions += positions;
            return;
        };
        let mut top = None;
        let said = said.and_then(|mut reply| match reply.tokens.is_empty() {
            true => Err(LlmError::BadReply("a reply without tokens".to_owned())),
            false => {
                top = reply.top.drain(..).next();
                Ok(reply.tokens)
            }
        });
        match said {
            Err(_) if ahead => {
                branch.fail();
                self.trace.wasted_calls += 1;
                self.trace.wasted_positions += positions;
            }
            said => {
                if ahead {
                    branch.spent.llm_calls += 1;
                    branch.spent.llm_positions += positions;
                } else if branch.stood_still(self.trace.waits) {
                    self.trace.waits += 1;
                }
                if let (Ok(run), false) = (&said, self.rules.policy.relays()) {
                    self.lookahead.learn(&branch.path, run);
                }
                let dropped = match said {
                    Err(error) if self.rules.policy.strict => self.root.break_off(error.into()),
                    said => branch.settle(said.map_err(|e| e.cause()), top.as_ref(), &self.rules),
                };
                self.write_off(dropped, caller);
            }
        }
    }

    /// Stops waiting for the LLM after the deadline.
    pub(crate) fn check_deadline<L: Llm + ?Sized>(
        &mut self,
        now: Instant,
        caller: &mut Caller<'_, L>,
    ) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let call = self.waits().and_then(|routed| routed.ask.call());
        self.trace.waits += u64::from(self.root.stood_still(self.trace.waits));
        let late = LlmError::Late("the answer's deadline has passed".to_owned());
        let mut dropped = match self.rules.policy.strict {
            true => self.root.break_off(late.into()),
            false => self.root.settle(Err(late.cause()), None, &self.rules),
        };
        dropped.calls.extend(call);
        self.write_off(dropped, caller);
    }

    fn write_off<L: Llm + ?Sized>(&mut self, dropped: Dropped, caller: &mut Caller<'_, L>) {
        self.trace.rolled_back += dropped.spent.slm_positions;
        self.trace.discarded += dropped.discarded;
        self.trace.wasted_calls += dropped.spent.llm_calls;
        self.trace.wasted_positions += dropped.spent.llm_positions;
        for call in dropped.calls {
            if caller.withdraw(call) {
                self.trace.llm_calls -= 1;
            } else {
                self.trace.wasted_calls += 1;
            }
        }
    }

    /// Moves decided tokens into the trace. Returns the end of the answer, if it has ended.
    pub(crate) fn commit(&mut self, events: &mut Vec<Event>) -> Option<End> {
        let held_back = self.rules.policy.begins_anew();
        if held_back && matches!(self.root.head, Head::Open | Head::Routed(_)) {
            return None;
        }
        for made in self.root.made.drain(..) {
            self.trace.held += u64::from(made.held);
            self.trace.relayed += u64::from(made.relayed);
            self.trace.tokens.push(made.token.clone());
            self.steps.extend(made.step);
            events.push(Event::Token { session: self.id, token: made.token, listed: made.listed });
        }
        match &self.root.head {
            Head::Open | Head::Routed(_) => None,
            Head::Closed => {
                self.trace.ended = self.root.path.ended();
                Some(End::Complete)
            }
            Head::Broken(error) => Some(End::Broken(error.clone())),
        }
    }

    /// Ends the session and gives up its calls.
    pub(crate) fn close<L: Llm + ?Sized>(&mut self, caller: &mut Caller<'_, L>) {
        let mut dropped = Dropped::default();
        let root = std::mem::replace(&mut self.root.head, Head::Closed);
        root.give_up(&mut dropped);
        self.write_off(dropped, caller);
    }
}

/// Calls the LLM for the token that a branch needs.
fn send<S: Clone, L: Llm + ?Sized>(
    branch: &mut Branch<'_, S>,
    session: SessionId,
    caller: &mut Caller<'_, L>,
    trace: &mut Trace,
    rules: &Rules<'_>,
    urgent: bool,
) {
    if let Head::Routed(routed) = &mut branch.head {
        let left = rules.max_tokens - branch.path.index();
        let tokens = routed.tokens.max(rules.policy.lookahead.get().min(left));
        let (sampling, top) = (rules.policy.sampling, rules.scorer.llm_top());
        let wanted = Wanted { tokens, sampling, top };
        let context = match rules.policy.begins_anew() {
            true => &branch.path.tokens()[..branch.path.prompt_len()],
            false => branch.path.tokens(),
        };
        let call = caller.submit(session, context, wanted, urgent);
        routed.ask = AskState::Waiting(call);
        routed.sent = trace.waits;
        trace.llm_calls += 1;
    }
}
