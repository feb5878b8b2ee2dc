//! The whole chain as a user runs it, in seconds, and what the exact sweep costs
//! beside one decode per point of a grid: `cargo bench -p tokenroute`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Instant;

use support::{Lab, succeed};

/// Questions to train on, to validate on, to test on.
const QUESTIONS: (usize, usize, usize) = (200, 60, 60);
/// Questions of the test split that are also decoded by brute force.
const CHECKED: &str = "30";

#[expect(clippy::print_stdout, reason = "a benchmark reports to its terminal")]
fn main() {
    // `cargo test --benches` only checks that it builds and starts.
    if !std::env::args().any(|a| a == "--bench") {
        return;
    }
    let lab = Lab::new(QUESTIONS.0, QUESTIONS.1, QUESTIONS.2);
    let experiment = lab.experiment();
    let timed = |arguments: &[&str]| {
        let start = Instant::now();
        let text = succeed(arguments);
        (start.elapsed().as_secs_f64(), text)
    };
    let (first, _) = timed(&["run", &experiment]);
    let (second, _) = timed(&["run", &experiment]);
    let (_, checked) = timed(&["check-sweep", &experiment, "--questions", CHECKED]);
    let summary = lab.bytes("reports/e/summary.json");
    let summary: serde_json::Value = serde_json::from_slice(&summary).expect("a JSON file");
    println!(
        "whole chain, {QUESTIONS:?} questions  {first:.1} s; again, nothing changed {second:.2} s"
    );
    if let Some(stages) = summary["seconds"].as_object() {
        for (stage, seconds) in stages {
            println!("  {stage:<10} {:7.1} s", seconds.as_f64().unwrap_or(f64::NAN));
        }
    }
    println!("exact sweep: {}", checked.trim_end());
}
