//! The matrix of faults. With any fault between device and LLM, every answer is completed
//! in time, no wrong token is taken, and missing tokens are marked.
//!
//! `TOKENROUTE_FAULTS=100 cargo test --test faults -- --nocapture` decodes 100 prompts in
//! each cell instead of a few, and prints the counts.
#![allow(clippy::print_stdout)]

mod lab;
mod proxy;

use std::thread;

use lab::{Lab, Tally, WAITS, prompts};
use proxy::{Fault, When};
use tokenroute_core::{Cause, Tau, TokenId};
use tokenroute_runtime::Wait;

/// Prompts in each cell, and whether to print the table.
fn size() -> (u32, bool) {
    match std::env::var("TOKENROUTE_FAULTS") {
        Ok(count) => (count.parse().expect("TOKENROUTE_FAULTS is a number of prompts"), true),
        Err(_) => (8, false),
    }
}

fn head(shown: bool) {
    if shown {
        println!(
            "fault | decoding | generations | tokens | by the LLM | degraded | causes | truncated \
             | hangs | wrong | longest wait ms | recovery ms"
        );
    }
}

/// Every fault, and its cause if it damages all exchanges.
const FAULTS: [(Fault, Option<Cause>); 18] = [
    (Fault::None, None),
    (Fault::Delay(5), None),
    (Fault::Jitter(20), None),
    (Fault::Bandwidth(100_000), None),
    (Fault::Delay(250), Some(Cause::Late)),
    (Fault::Bandwidth(400), Some(Cause::Late)),
    (Fault::Silence, Some(Cause::Late)),
    (Fault::NeverRead, Some(Cause::Late)),
    // A retry on a new connection may succeed.
    (Fault::HalfOpen, None),
    (Fault::CloseAtOnce, Some(Cause::Unavailable)),
    (Fault::CloseMidReply, Some(Cause::Unavailable)),
    (Fault::ResetMidReply, Some(Cause::Unavailable)),
    (Fault::Status(429), Some(Cause::Refused)),
    (Fault::Status(503), Some(Cause::Unavailable)),
    (Fault::Garbage, Some(Cause::BadReply)),
    (Fault::BrokenOff, Some(Cause::BadReply)),
    (Fault::ForeignToken, Some(Cause::BadReply)),
    (Fault::OtherPrefix, Some(Cause::BadReply)),
];

/// One mode of waiting with one fault: constant, and in bursts.
fn row(
    lab: &Lab,
    wait: Wait,
    (fault, cause): (Fault, Option<Cause>),
    prompts: &[Vec<TokenId>],
) -> Tally {
    let half = Tau::new(0.5).expect("in range");
    let mut row = Tally::default();
    for (when, tau) in [(When::Always, half), (When::Always, Tau::LLM_ONLY), (When::Bursts, half)] {
        lab.proxy.spoil(Fault::None, When::Always);
        let llm = lab.client("http");
        // The server's type must be known to tell one fault from another.
        while llm.server().is_err() {}
        lab.proxy.spoil(fault, when);
        let mut cell = lab.generate(&llm, tau, wait, prompts);
        let cell_is = format!("{fault:?} {when:?} {wait:?} {:?}", cell.degraded);
        if let (Some(cause), When::Always) = (cause, when) {
            assert!(cell.found(cause), "{cell_is}");
        }
        // On a busy machine the cause may be late, and with an open circuit unavailable.
        let known = [cause, Some(Cause::Late), Some(Cause::Unavailable)];
        assert!(cell.degraded.keys().all(|c| known.contains(&Some(*c))), "{cell_is}");
        cell.recovery = lab.recovers(&llm, wait, &prompts[..1]);
        row.add(&cell);
    }
    row
}

#[test]
fn every_answer_is_completed_and_no_wrong_token_taken() {
    let (count, shown) = size();
    let prompts = &prompts(count);
    let rows: Vec<Vec<Tally>> = thread::scope(|scope| {
        let all = |wait| {
            let lab = Lab::new();
            FAULTS.iter().map(|fault| row(&lab, wait, *fault, prompts)).collect()
        };
        let workers = WAITS.map(|(_, wait)| scope.spawn(move || all(wait)));
        workers.into_iter().map(|worker| worker.join().expect("what must hold holds")).collect()
    });
    let mut total = Tally::default();
    head(shown);
    for (i, (fault, _)) in FAULTS.iter().enumerate() {
        for ((name, _), rows) in WAITS.iter().zip(&rows) {
            if shown {
                println!("{fault:?} | {name} | {}", rows[i]);
            }
            total.add(&rows[i]);
        }
    }
    if shown {
        println!("all | all | {total}");
    }
    assert!(total.generations >= 1000, "{} generations", total.generations);
}

#[test]
fn a_cloud_without_tls_gives_no_token() {
    let lab = Lab::new();
    let (count, shown) = size();
    let prompts = prompts(count);
    head(shown);
    // Plain HTTP on a TLS port, and a handshake without a reply.
    for (fault, cause) in
        [(Fault::None, Cause::Unavailable), (Fault::NeverRead, Cause::Unavailable)]
    {
        for (name, wait) in WAITS {
            lab.proxy.spoil(fault, When::Always);
            let tally = lab.generate(&lab.client("https"), Tau::LLM_ONLY, wait, &prompts);
            if shown {
                println!("TLS, {fault:?} | {name} | {tally}");
            }
            let degraded: usize = tally.degraded.values().sum();
            assert_eq!((tally.offloaded, degraded), (0, tally.tokens));
            let known = [cause, Cause::Late];
            assert!(tally.degraded.keys().all(|c| known.contains(c)), "{:?}", tally.degraded);
        }
    }
}
