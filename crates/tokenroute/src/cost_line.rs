//! Describes the costs of answers in one line.

use std::collections::BTreeMap;

use tokenroute_core::{Bytes, Cause, Trace};
use tokenroute_llm::http::Traffic;

use crate::output;

/// Offloaded tokens and their costs, in one line.
pub fn costs(traces: &[Trace], traffic: Option<Traffic>) -> String {
    let sum = |of: fn(&Trace) -> u64| traces.iter().map(of).sum::<u64>();
    let tokens = sum(|t| t.tokens.len() as u64);
    let offloaded = sum(|t| t.offloaded() as u64);
    let share = 100.0 * offloaded as f64 / tokens.max(1) as f64;
    let mut line = format!(
        "{offloaded} of {tokens} tokens offloaded ({share:.1}%), {} LLM calls, {} LLM positions",
        sum(|t| t.llm_calls),
        sum(|t| t.llm_positions),
    );
    for (count, what) in [
        (sum(|t| t.waits), "serial waits"),
        (sum(|t| t.wasted_calls), "calls wasted"),
        (sum(|t| t.wasted_positions), "LLM positions wasted"),
        (sum(|t| t.speculated_tokens() as u64), "tokens made during a wait"),
        (sum(|t| t.speculated), "SLM positions speculated"),
        (sum(|t| t.rolled_back), "of them rolled back"),
        (sum(|t| t.discarded), "SLM positions discarded"),
        (sum(|t| t.relayed), "tokens relayed"),
        (sum(|t| t.held), "tokens held by the budget"),
    ] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    if let Some(Traffic { requests, hedges, bytes: Bytes { up, down } }) = traffic {
        line +=
            &format!(", {requests} requests ({hedges} hedged), {up} bytes up, {down} bytes down");
    }
    line
}

/// Warns about degraded tokens, with their number by cause.
pub fn warn_of_degraded(traces: &[Trace]) {
    let mut causes: BTreeMap<Cause, usize> = BTreeMap::new();
    for cause in traces.iter().flat_map(|t| &t.tokens).filter_map(|t| t.cause) {
        *causes.entry(cause).or_default() += 1;
    }
    if causes.is_empty() {
        return;
    }
    let all: usize = traces.iter().map(|t| t.tokens.len()).sum();
    let degraded: usize = causes.values().sum();
    let causes: Vec<String> =
        causes.iter().map(|(&cause, n)| format!("{} {n}", named(cause))).collect();
    let causes = causes.join(", ");
    output::warn(&format!(
        "{degraded} of {all} tokens are degraded, since the LLM gave none: {causes}"
    ));
}

/// The cause in words for users.
fn named(cause: Cause) -> &'static str {
    match cause {
        Cause::Unavailable => "unreachable",
        Cause::Late => "too late",
        Cause::Refused => "refused",
        Cause::BadReply => "unusable reply",
        Cause::Model => "model error",
    }
}
