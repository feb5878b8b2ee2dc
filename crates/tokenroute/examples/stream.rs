//! A conversation by the model's chat template, with the origin of every token: the LLM's
//! stand in brackets. While the LLM makes one, the SLM goes on ahead.
//!
//! `cargo run --example stream`, in the folder of the workspace.
#![allow(clippy::print_stdout)]

use std::io::{Write, stdout};
use std::time::Duration;

use tokenroute::{Message, Origin, RoutedPair, Token};

const QUESTIONS: [&str; 2] = [
    "Max has 4 beads. Max has 8 fewer beads than Jack. Jack has 3 more beads than Tom. How many \
     beads does Tom have?\n12 A 15 B 9 C 7 D 1 E",
    "Zoe has 16 rings. Zoe has 2 more rings than Ben. Tom has 21 rings. Who has the fewest \
     rings?\nZoe A Noah B Eva C Ben D Tom E",
];

fn show(token: &Token) {
    match token.origin() {
        Origin::Slm => print!("{}", token.text),
        Origin::Llm => print!("[{}]", token.text),
        // The LLM did not answer in time.
        Origin::Degraded => print!("({})", token.text),
    }
    // Progress of an answer, which a failing terminal must not end.
    let _ = stdout().flush();
}

fn main() -> Result<(), tokenroute::Error> {
    let pair = RoutedPair::builder("models/word-problems-slm")
        .llm("models/word-problems-llm")
        .router("models/word-problems-router/router.safetensors")
        .tau(0.98)
        .speculate(2)
        .deadline(Duration::from_secs(5))
        .max_tokens(100)
        .open()?;
    for question in QUESTIONS {
        let answer = pair.chat(&[Message::new("user", question)], |token| show(&token))?;
        let trace = &answer.trace;
        println!(
            "\n  {} of {} tokens from the LLM, {} calls",
            trace.offloaded(),
            trace.tokens.len(),
            trace.llm_calls
        );
    }
    Ok(())
}
