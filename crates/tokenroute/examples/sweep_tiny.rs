//! An exact sweep of τ over a few questions: accuracy and offload ratio at every τ, from the
//! distinct trajectories alone.
//!
//! `cargo run --example sweep_tiny`, in the folder of the workspace.
#![allow(clippy::print_stdout)]

use std::fs::read_to_string;

use tokenroute::sweep::{SweepOptions, sweep};
use tokenroute::{Curve, Question, Request, RoutedPair, Silent, TokenId, grade};

const QUESTIONS: usize = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pair = RoutedPair::builder("models/word-problems-slm")
        .llm("models/word-problems-llm")
        .router("models/word-problems-router/router.safetensors")
        .tau(0.0)
        .open()?;
    let (models, scorer) = pair.parts();
    let tokenizer = &pair.slm().tokenizer;

    let lines = read_to_string("datasets/word-problems/test.jsonl")?;
    let questions: Vec<Question> =
        lines.lines().take(QUESTIONS).map(serde_json::from_str).collect::<Result<_, _>>()?;
    let prompts: Vec<Vec<TokenId>> =
        questions.iter().map(|q| tokenizer.encode_prompt(&q.prompt())).collect::<Result<_, _>>()?;
    let requests: Vec<Request<'_>> = questions
        .iter()
        .zip(&prompts)
        .map(|(q, prompt)| Request { question: &q.id, prompt, max_tokens: 128 })
        .collect();

    // An answer that does not decode is wrong.
    let right = |i: usize, tokens: &[TokenId]| {
        let ended = tokens.last().is_some_and(|&last| pair.slm().vocabulary.is_end(last));
        tokenizer.decode(tokens).is_ok_and(|text| grade(&questions[i], &text, ended))
    };
    let swept = sweep(models, scorer, &requests, &right, &SweepOptions::default(), &Silent)?;
    let curves: Vec<_> = swept.iter().map(|question| question.curve.clone()).collect();
    let curve = Curve::of(&curves);
    println!("{QUESTIONS} questions, {} values of τ at which anything changes", curve.points.len());
    for budget in [0.0, 0.02, 0.05, 0.1, 0.2, 1.0] {
        let tau = curve.tau_at_offload(budget);
        let point = curve.at(tau);
        println!(
            "at most {:5.1}% offloaded: τ = {tau}, {:.1}% offloaded, {:.1}% right",
            100.0 * budget,
            100.0 * point.offload(),
            100.0 * curve.accuracy(&point)
        );
    }
    Ok(())
}
