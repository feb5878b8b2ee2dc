//! Ten lines: open the bundled pair, decode a routed answer, print it as it comes.
//!
//! `cargo run --example generate`, in the folder of the workspace.
#![allow(clippy::print_stdout)]

use tokenroute::RoutedPair;

const QUESTION: &str = "The picnic is on Saturday. The picnic is 5 days before the party. The \
    party is 4 days before the concert. On which day is the concert?\n\
    Tuesday A Sunday B Saturday C Monday D Thursday E\n";

fn main() -> Result<(), tokenroute::Error> {
    let pair = RoutedPair::builder("models/word-problems-slm")
        .llm("models/word-problems-llm")
        .router("models/word-problems-router/router.safetensors")
        .tau(0.98)
        .open()?;
    let answer = pair.generate(QUESTION, |token| print!("{}", token.text))?;
    println!("\n{:.1}% offloaded", 100.0 * answer.offload_ratio());
    Ok(())
}
