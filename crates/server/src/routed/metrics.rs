//! Counters of a routed server since its start, in Prometheus' text format.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokenroute_core::{Bytes, Cause, Origin, Trace};

/// Upper bounds of the histograms' buckets, in seconds.
const BOUNDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

const ORIGINS: [(Origin, &str); 3] =
    [(Origin::Slm, "slm"), (Origin::Llm, "llm"), (Origin::Degraded, "degraded")];

const CAUSES: [(Cause, &str); 5] = [
    (Cause::Unavailable, "unavailable"),
    (Cause::Late, "late"),
    (Cause::Refused, "refused"),
    (Cause::BadReply, "bad-reply"),
    (Cause::Model, "model"),
];

/// The name of an origin.
pub(crate) fn origin_name(origin: Origin) -> &'static str {
    ORIGINS.iter().find(|(o, _)| *o == origin).map_or("", |(_, name)| name)
}

/// The name of a cause.
pub(crate) fn cause_name(cause: Cause) -> &'static str {
    CAUSES.iter().find(|(c, _)| *c == cause).map_or("", |(_, name)| name)
}

/// Outcome of a request for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered to its end.
    Done,
    /// The client left before that.
    Left,
    /// Refused before decoding began.
    Refused,
    /// Refused because too many requests were waiting.
    Busy,
    /// The time limit passed, or the model failed.
    Failed,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Done, "done"),
    (Outcome::Left, "left"),
    (Outcome::Refused, "refused"),
    (Outcome::Busy, "busy"),
    (Outcome::Failed, "failed"),
];

/// Durations, counted by length.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn record(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(i) = BOUNDS.iter().position(|&bound| seconds <= bound) {
            self.buckets[i].fetch_add(1, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(time.as_micros() as u64, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        head(out, name, "histogram", help);
        let mut below = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            below += bucket.load(Ordering::Relaxed);
            line(out, &format!("{name}_bucket{{le=\"{bound}\"}}"), below);
        }
        // A duration recorded in between must not make the last bucket the smaller one.
        let count = self.count.load(Ordering::Relaxed).max(below);
        line(out, &format!("{name}_bucket{{le=\"+Inf\"}}"), count);
        line(out, &format!("{name}_sum"), self.micros.load(Ordering::Relaxed) as f64 / 1e6);
        line(out, &format!("{name}_count"), count);
    }
}

/// Counters since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    outcomes: [AtomicU64; OUTCOMES.len()],
    origins: [AtomicU64; ORIGINS.len()],
    causes: [AtomicU64; CAUSES.len()],
    prompt_tokens: AtomicU64,
    slm_positions: AtomicU64,
    llm_positions: AtomicU64,
    llm_calls: AtomicU64,
    wasted_calls: AtomicU64,
    speculated: AtomicU64,
    relayed: AtomicU64,
    held: AtomicU64,
    pub(crate) first_token: Histogram,
    pub(crate) between_tokens: Histogram,
}

/// Gauges, and counters kept elsewhere.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// Requests that decode or wait.
    pub(crate) under_way: usize,
    /// Most requests that may decode or wait.
    pub(crate) slots: usize,
    /// Bytes to and from the LLM, if it is behind a network.
    pub(crate) bytes: Option<Bytes>,
}

impl Metrics {
    pub(crate) fn outcome(&self, outcome: Outcome) {
        add(&self.outcomes, OUTCOMES.iter().position(|(o, _)| *o == outcome), 1);
    }

    pub(crate) fn asked(&self, prompt_tokens: usize) {
        self.prompt_tokens.fetch_add(prompt_tokens as u64, Ordering::Relaxed);
    }

    pub(crate) fn made(&self, origin: Origin, cause: Option<Cause>) {
        add(&self.origins, ORIGINS.iter().position(|(o, _)| *o == origin), 1);
        add(&self.causes, CAUSES.iter().position(|(c, _)| Some(*c) == cause), 1);
    }

    pub(crate) fn ended(&self, trace: &Trace) {
        for (counter, more) in [
            (&self.slm_positions, trace.slm_positions),
            (&self.llm_positions, trace.llm_positions),
            (&self.llm_calls, trace.llm_calls),
            (&self.wasted_calls, trace.wasted_calls),
            (&self.speculated, trace.speculated),
            (&self.relayed, trace.relayed),
            (&self.held, trace.held),
        ] {
            counter.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Adds the cost of a reply that came after its answer ended.
    pub(crate) fn billed(&self, positions: u64) {
        self.llm_positions.fetch_add(positions, Ordering::Relaxed);
    }

    /// Everything in Prometheus' text format.
    pub(crate) fn text(&self, now: Now) -> String {
        let mut out = String::new();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let name = "tokenroute_requests_total";
        head(&mut out, name, "counter", "Requests for an answer, by outcome.");
        for ((_, outcome), counter) in OUTCOMES.iter().zip(&self.outcomes) {
            line(&mut out, &format!("{name}{{outcome=\"{outcome}\"}}"), load(counter));
        }
        let name = "tokenroute_tokens_total";
        head(&mut out, name, "counter", "Generated tokens, by origin.");
        for ((_, origin), counter) in ORIGINS.iter().zip(&self.origins) {
            line(&mut out, &format!("{name}{{origin=\"{origin}\"}}"), load(counter));
        }
        let name = "tokenroute_degraded_tokens_total";
        head(&mut out, name, "counter", "Tokens the LLM should have made, by cause of failure.");
        for ((_, cause), counter) in CAUSES.iter().zip(&self.causes) {
            line(&mut out, &format!("{name}{{cause=\"{cause}\"}}"), load(counter));
        }
        for (name, help, counter) in [
            ("prompt_tokens", "Prompt tokens.", &self.prompt_tokens),
            ("slm_positions", "Positions the SLM processed.", &self.slm_positions),
            (
                "speculated_positions",
                "SLM positions processed while an LLM call was pending.",
                &self.speculated,
            ),
            (
                "llm_positions",
                "Positions the LLM processed, prefill included.",
                &self.llm_positions,
            ),
            ("llm_calls", "Calls to the LLM.", &self.llm_calls),
            ("llm_wasted_calls", "LLM calls that made no token.", &self.wasted_calls),
            ("relayed_tokens", "LLM tokens by relay, after a routed one.", &self.relayed),
            ("held_tokens", "SLM tokens kept because the budget was spent.", &self.held),
        ] {
            single(&mut out, &format!("tokenroute_{name}_total"), "counter", help, load(counter));
        }
        if let Some(Bytes { up, down }) = now.bytes {
            for (name, help, bytes) in [
                ("sent", "Bytes sent to the LLM.", up),
                ("received", "Bytes received from the LLM.", down),
            ] {
                let name = format!("tokenroute_llm_{name}_bytes_total");
                single(&mut out, &name, "counter", help, bytes);
            }
        }
        let name = "tokenroute_requests_under_way";
        let help = "Requests that decode or wait.";
        single(&mut out, name, "gauge", help, now.under_way as u64);
        let help = "Most requests that may decode or wait.";
        single(&mut out, "tokenroute_requests_most", "gauge", help, now.slots as u64);
        let first = "Seconds from a request to its first token.";
        self.first_token.write(&mut out, "tokenroute_first_token_seconds", first);
        let between = "Seconds between the tokens of an answer.";
        self.between_tokens.write(&mut out, "tokenroute_between_tokens_seconds", between);
        out
    }
}

fn add(counters: &[AtomicU64], at: Option<usize>, n: u64) {
    if let Some(counter) = at.and_then(|at| counters.get(at)) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
}

fn single(out: &mut String, name: &str, kind: &str, help: &str, value: u64) {
    head(out, name, kind, help);
    line(out, name, value);
}

fn line(out: &mut String, name: &str, value: impl Display) {
    out.push_str(&format!("{name} {value}\n"));
}
