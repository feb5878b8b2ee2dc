//! A router in code instead of a file: tokens of which the SLM is unsure go to the LLM.
//!
//! `cargo run --example custom_scorer`, in the folder of the workspace.
#![allow(clippy::print_stdout)]

use tokenroute::{Position, RoutedPair, Score, ScoreError, Scorer};

/// Keeps a token by the margin between the SLM's two most probable tokens.
struct Margin;

impl Scorer for Margin {
    fn score(&self, position: &Position<'_>) -> Result<Score, ScoreError> {
        Score::new(position.step.margin())
    }
}

const QUESTION: &str = "The picnic is on Saturday. The picnic is 5 days before the party. The \
    party is 4 days before the concert. On which day is the concert?\n\
    Tuesday A Sunday B Saturday C Monday D Thursday E\n";

fn main() -> Result<(), tokenroute::Error> {
    let mut pair = RoutedPair::builder("models/word-problems-slm")
        .llm("models/word-problems-llm")
        .scorer(Margin)
        .tau(0.0)
        .open()?;
    for tau in ["0", "0.3", "0.6", "0.9", "1"] {
        pair.set_tau(tau.parse()?);
        let answer = pair.generate(QUESTION, |_| ())?;
        println!("τ = {tau}, {:.0}% offloaded: {}", 100.0 * answer.offload_ratio(), answer.text);
    }
    Ok(())
}
