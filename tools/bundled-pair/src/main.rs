//! `bundled-pair`: makes the word problems and the two models that the repository ships.

mod commands;
mod progress;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};

/// Make, train and verify the bundled pair.
#[derive(Debug, Parser)]
#[command(name = "bundled-pair", version, arg_required_else_help = true)]
enum Command {
    /// Write the data set and the tokenizer.
    Data {
        /// The pair's experiment.toml.
        experiment: PathBuf,
    },
    /// Train both models. An interrupted run resumes.
    Train(Train),
    /// Grade the committed weights again and compare the result with their model card.
    Verify {
        /// The pair's experiment.toml.
        experiment: PathBuf,
    },
}

/// Arguments of `train`.
#[derive(Debug, Args)]
struct Train {
    /// The pair's experiment.toml.
    experiment: PathBuf,
    /// Burn backend: flex, ndarray or wgpu, if built in.
    #[arg(long, default_value = "flex")]
    device: String,
    /// Train only one model: slm or llm.
    #[arg(long)]
    only: Option<String>,
}

fn main() -> ExitCode {
    match commands::run(&Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
