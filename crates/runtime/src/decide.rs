//! Decides tokens from the SLM's steps and the LLM's tokens: keep, offload or settle. A
//! decision depends only on the tokens before it, never on time.

use std::collections::VecDeque;
use std::mem;

use tokenroute_core::{
    Cause, LlmStep, LogProbability, Origin, Scored, Side, Step, TokenId, TopTokens, TraceToken,
};

use crate::branch::{AskState, Branch, Dropped, Head, Made, Routed, Rules, Start};
use crate::{RuntimeError, Wait};

impl<'v, S: Clone> Branch<'v, S> {
    /// Handles the SLM's steps after each of `pending[from..]`.
    pub(crate) fn hear(&mut self, steps: Vec<Step>, rules: &Rules<'_>) {
        for mut step in steps {
            let position = self.path.tokens().len();
            let own = step.said(rules.policy.sampling, Side::Slm, position);
            let own = self.path.canonical(own);
            // The logits are large, and later code reads them for a listed token alone.
            if rules.policy.listed.is_none() {
                step.logits = None;
            }
            let heard = match self.relayed.pop_front() {
                Some(token) => self.relay(token, own, &step, rules),
                None => self.decide(own, step, rules),
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
        llm: Option<LlmStep<'_>>,
        rules: &Rules<'_>,
    ) -> Result<Scored, RuntimeError> {
        let llm = llm.filter(|_| rules.scorer.needs_llm());
        let position = self.path.position(&rules.question, step, llm);
        rules.scorer.scored(&position).map_err(|source| RuntimeError::Score {
            question: rules.question.clone(),
            index: position.index,
            source,
        })
    }

    /// Decides the next token, or marks it to be requested.
    fn decide(&mut self, own: TokenId, step: Step, rules: &Rules<'_>) -> Result<(), RuntimeError> {
        let (index, policy) = (self.path.index(), &rules.policy);
        if index == 0 && policy.begins_anew() {
            let (path, state, step) = (self.path.clone(), self.state.clone(), step.clone());
            self.start = Some(Box::new(Start { path, state, step, own }));
        }
        let scored = match rules.scorer.needs_llm() {
            true => None,
            false => Some(self.score(&step, None, rules)?),
        };
        if let Some(scored) = &scored {
            let score = scored.score;
            let keeps = !policy.tau.offloads(score);
            let held = !keeps && !policy.budget.allows(score, index, self.asked);
            let cause = self.declined.filter(|_| !keeps && !held);
            if keeps || held || cause.is_some() {
                let origin = cause.map_or(Origin::Slm, |_| Origin::Degraded);
                let (slm_token, score, speculated) = (own, score.get(), false);
                let made = TraceToken { token: own, origin, slm_token, score, cause, speculated };
                self.append(Made::new(made, held, false), &step, scored, rules);
                return Ok(());
            }
        }
        let most = match policy.wait {
            Wait::Relay { tokens } => tokens.get().min(rules.max_tokens - index),
            Wait::Block | Wait::Speculate { .. } => 1,
            Wait::Whole => rules.max_tokens,
        };
        let tokens = policy.budget.grants(index, self.asked, most).max(1);
        let (ask, branches) = (AskState::Open, Vec::new());
        let routed = Routed { step, own, scored, ask, since: None, sent: 0, tokens, branches };
        self.head = Head::Routed(Box::new(routed));
        Ok(())
    }

    /// Takes a token that came in the same call as the routed one.
    fn relay(
        &mut self,
        token: TokenId,
        own: TokenId,
        step: &Step,
        rules: &Rules<'_>,
    ) -> Result<(), RuntimeError> {
        let scored = self.score(step, Some(LlmStep { token, top: None }), rules)?;
        let made = TraceToken {
            token,
            origin: Origin::Llm,
            slm_token: own,
            score: scored.score.get(),
            cause: None,
            speculated: false,
        };
        self.asked += 1;
        self.append(Made::new(made, false, true), step, &scored, rules);
        Ok(())
    }

    /// Appends a token. The SLM processes it next unless it closes the answer.
    fn append(&mut self, mut made: Made, step: &Step, scored: &Scored, rules: &Rules<'_>) {
        let known = (!rules.scorer.needs_llm()).then_some(scored);
        made.token.token = self.path.commit(made.token.token, step, known);
        if !rules.records {
            self.path.keep_last_state();
        }
        let token = made.token.token;
        let logits = step.logits.as_deref().filter(|logits| (token as usize) < logits.len());
        let listed = rules.policy.listed.zip(logits);
        made.listed = listed.map(|(top, logits)| LogProbability::of(logits, token, top));
        made.step = rules.records.then(|| Step { logits: None, ..step.clone() });
        self.pending = vec![made.token.token];
        self.made.push(made);
        let complete = self.whole && self.relayed.is_empty();
        let closed = complete || self.path.closed(rules.max_tokens);
        self.head = if closed { Head::Closed } else { Head::Open };
    }

    /// Goes back to the first position, where the LLM begins its own answer. Returns the SLM's
    /// step and token there.
    fn begin_anew(&mut self, start: Start<'v, S>, dropped: &mut Dropped) -> (Step, TokenId) {
        dropped.discarded += self.path.index() as u64;
        self.made.clear();
        (self.path, self.state, self.asked) = (start.path, start.state, 0);
        self.whole = true;
        (start.step, start.own)
    }

    /// Keeps the SLM's answer if a later request for the whole answer would fail alike.
    fn decline(&mut self, cause: Cause) {
        match cause {
            // The server may come back.
            Cause::Unavailable | Cause::Late => {}
            Cause::Refused | Cause::BadReply | Cause::Model => {
                self.declined = Some(cause);
                self.start = None;
            }
        }
    }

    /// Continues with the LLM's tokens, or without them after a failure. `top` holds its most
    /// probable tokens at the first, if they were wanted. A branch that began with the same
    /// token is kept. Returns the work given up. Does nothing if no token was requested.
    pub(crate) fn settle(
        &mut self,
        said: Result<Vec<TokenId>, Cause>,
        top: Option<&TopTokens>,
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
        let Routed { mut step, mut own, mut scored, branches, tokens, .. } = routed;
        if said.as_ref().is_ok_and(|run| !run.is_empty())
            && let Some(start) = self.start.take()
        {
            (step, own) = self.begin_anew(*start, &mut dropped);
            // The score stays that of the token that was offloaded. What the scorer remembers is
            // that of the first step.
            if let Some(scored) = scored.as_mut().filter(|scored| scored.state.is_some()) {
                scored.state = self.score(&step, None, rules).ok().and_then(|first| first.state);
            }
        }
        let mut said = said.map(|run| {
            let length = self.path.ends_within(&run).unwrap_or(run.len());
            let run = run.into_iter().take(length.min(tokens));
            VecDeque::from_iter(run.map(|t| self.path.canonical(t)))
        });
        let first = match &mut said {
            Ok(run) => run.pop_front().ok_or(Cause::BadReply),
            Err(cause) => Err(*cause),
        };
        if let Some(cause) = first.err().filter(|_| rules.policy.begins_anew()) {
            self.decline(cause);
        }
        let llm = first.ok().map(|token| LlmStep { token, top });
        let scored = match scored.map_or_else(|| self.score(&step, llm, rules), Ok) {
            Ok(scored) => scored,
            Err(error) => {
                self.head = Head::Broken(error);
                return dropped;
            }
        };
        // Only a scorer that needs the LLM's token can receive it and keep the SLM's.
        let score = scored.score;
        let routes = rules.policy.tau.offloads(score);
        let granted = rules.policy.budget.allows(score, self.path.index(), self.asked);
        let (token, origin, cause) = match first {
            Err(cause) => (own, Origin::Degraded, Some(cause)),
            Ok(token) if routes && granted => (token, Origin::Llm, None),
            Ok(_) => (own, Origin::Slm, None),
        };
        self.asked += usize::from(origin != Origin::Slm);
        let made = TraceToken {
            token,
            origin,
            slm_token: own,
            score: score.get(),
            cause,
            speculated: false,
        };
        let held = origin == Origin::Slm && routes;
        self.append(Made::new(made, held, false), &step, &scored, rules);

        let token = self.path.previous();
        for (first, branch) in branches {
            if first == token {
                self.made.extend(branch.made.into_iter().map(Made::ahead));
                self.path = branch.path;
                self.state = branch.state;
                self.pending = branch.pending;
                self.asked = branch.asked;
                self.spent.add(branch.spent);
                self.head = branch.head;
            } else {
                dropped.spent.add(branch.spent);
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

    /// Lets the SLM process a run of the LLM's tokens.
    fn follow(&mut self, run: VecDeque<TokenId>, max_tokens: usize) {
        if run.is_empty() {
            return;
        }
        self.head = Head::Open;
        self.pending.extend(&run);
        // No step is needed after the end of the answer.
        let ends = self.whole || self.path.ends_within(&Vec::from(run.clone())).is_some();
        if ends || self.path.index() + run.len() >= max_tokens {
            self.pending.pop();
        }
        self.relayed = run;
    }
}
