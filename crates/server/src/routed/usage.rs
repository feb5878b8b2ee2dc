//! Counts over the answers to a request, as their reply gives them under `usage`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokenroute_core::{Bytes, Cause, Origin, TraceToken};

use crate::net::openai::reply;
use crate::routed::metrics::cause_name;
use crate::routed::ticket::AnswerEnd;

/// Counts over the tokens of one answer, or of several.
#[derive(Debug, Default)]
pub(crate) struct AnswerUsage {
    made: usize,
    offloaded: usize,
    speculated: usize,
    causes: BTreeMap<Cause, usize>,
    end: AnswerEnd,
}

impl AnswerUsage {
    /// Counts one token.
    pub(crate) fn count(&mut self, token: &TraceToken) {
        self.made += 1;
        self.offloaded += usize::from(token.origin == Origin::Llm);
        self.speculated += usize::from(token.speculated);
        if let Some(cause) = token.cause {
            *self.causes.entry(cause).or_default() += 1;
        }
    }

    /// Adds the counts that are known at the end.
    pub(crate) fn end(&mut self, end: AnswerEnd) {
        self.end = end;
    }

    /// Adds the counts of another answer.
    pub(crate) fn add(&mut self, other: AnswerUsage) {
        self.made += other.made;
        self.offloaded += other.offloaded;
        self.speculated += other.speculated;
        for (cause, n) in other.causes {
            *self.causes.entry(cause).or_default() += n;
        }
        let (all, more) = (&mut self.end.trace, other.end.trace);
        all.held += more.held;
        all.relayed += more.relayed;
        all.waits += more.waits;
        all.speculated += more.speculated;
        all.rolled_back += more.rolled_back;
        all.discarded += more.discarded;
        all.slm_positions += more.slm_positions;
        all.llm_positions += more.llm_positions;
        all.llm_calls += more.llm_calls;
        all.wasted_calls += more.wasted_calls;
        all.wasted_positions += more.wasted_positions;
        if let Some(bytes) = other.end.bytes {
            *self.end.bytes.get_or_insert_default() += bytes;
        }
    }

    /// Tokens made.
    pub(crate) fn made(&self) -> usize {
        self.made
    }

    /// OpenAI's usage, with the counts of routing under `tokenroute`.
    pub(crate) fn json(&self, prompt: usize) -> Value {
        let mut usage = reply::usage(prompt, self.made);
        usage["tokenroute"] = self.routing();
        usage
    }

    /// The counts of routing.
    pub(crate) fn routing(&self) -> Value {
        let causes: BTreeMap<&str, usize> =
            self.causes.iter().map(|(&cause, &n)| (cause_name(cause), n)).collect();
        let AnswerEnd { trace, bytes } = &self.end;
        let mut routing = json!({
            "offloaded": self.offloaded,
            "offload_ratio": self.offloaded as f64 / self.made.max(1) as f64,
            "degraded": self.causes.values().sum::<usize>(),
            "causes": causes,
            "held": trace.held,
            "relayed": trace.relayed,
            "waits": trace.waits,
            "speculated": self.speculated,
            "speculated_positions": trace.speculated,
            "rolled_back_positions": trace.rolled_back,
            "discarded_positions": trace.discarded,
            "slm_positions": trace.slm_positions,
            "llm_positions": trace.llm_positions,
            "llm_calls": trace.llm_calls,
            "wasted_calls": trace.wasted_calls,
            "wasted_positions": trace.wasted_positions,
        });
        if let Some(Bytes { up, down }) = bytes {
            routing["bytes_up"] = (*up).into();
            routing["bytes_down"] = (*down).into();
        }
        routing
    }
}
