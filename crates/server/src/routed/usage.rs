//! Counts over one answer, as its reply gives them under `usage`.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokenroute_core::{Bytes, Cause, Origin, TraceToken};

use crate::net::openai::reply;
use crate::routed::metrics::cause_name;
use crate::routed::ticket::AnswerEnd;

/// Counts over the tokens of one answer.
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

    /// OpenAI's usage, with the counts of routing under `tokenroute`.
    pub(crate) fn json(&self, prompt: usize) -> Value {
        let causes: BTreeMap<&str, usize> =
            self.causes.iter().map(|(&cause, &n)| (cause_name(cause), n)).collect();
        let AnswerEnd { trace, bytes } = &self.end;
        let mut usage = reply::usage(prompt, self.made);
        usage["tokenroute"] = json!({
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
            "slm_positions": trace.slm_positions,
            "llm_positions": trace.llm_positions,
            "llm_calls": trace.llm_calls,
            "wasted_calls": trace.wasted_calls,
            "wasted_positions": trace.wasted_positions,
        });
        if let Some(Bytes { up, down }) = bytes {
            usage["tokenroute"]["bytes_up"] = (*up).into();
            usage["tokenroute"]["bytes_down"] = (*down).into();
        }
        usage
    }
}
