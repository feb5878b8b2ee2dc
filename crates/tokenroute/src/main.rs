//! `tokenroute`: arguments, progress, one function per command.

mod args;
mod commands;
mod cost_line;
mod open_pair;
mod output;
mod progress;
#[cfg(all(test, feature = "lab", feature = "server"))]
mod reference;
#[cfg(feature = "server")]
mod signal;
mod token_printer;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokenroute_core::Progress;

use args::{Cli, Command};
use progress::Terminal;

fn main() -> ExitCode {
    #[cfg(all(feature = "server", unix))]
    signal::explain_cut_files();
    let cli = Cli::parse();
    let progress = Terminal::new(cli.quiet);
    match run(&cli.command, &progress) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress.finish();
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command, progress: &Terminal) -> Result<()> {
    match command {
        #[cfg(feature = "lab")]
        Command::Run(args) => commands::run::run(args, progress),
        #[cfg(feature = "lab")]
        Command::Label(args) => commands::label::run(args, progress),
        #[cfg(feature = "lab")]
        Command::Inspect(args) => commands::inspect::run(args),
        #[cfg(feature = "lab")]
        Command::Train(args) => commands::train::run(args, progress),
        #[cfg(feature = "lab")]
        Command::Sweep(args) => commands::sweep::run(args, progress),
        #[cfg(feature = "lab")]
        Command::Calibrate(args) => commands::calibrate::run(args),
        #[cfg(feature = "lab")]
        Command::Report(args) => commands::report::run(args, progress),
        #[cfg(all(feature = "lab", feature = "server"))]
        Command::Latency(args) => commands::latency::run(args, progress),
        #[cfg(feature = "lab")]
        Command::CheckSweep(args) => commands::check_sweep::run(args, progress),
        #[cfg(feature = "lab")]
        Command::Compare(args) => commands::compare::run(args, progress),
        #[cfg(feature = "lab")]
        Command::Metrics(args) => commands::metrics::run(args),
        #[cfg(feature = "lab")]
        Command::Router(command) => commands::router::run(command, progress),
        Command::Step(args) => commands::step::run(args, progress),
        Command::Generate(args) => commands::generate::run(args, progress),
        Command::Chat(args) => commands::chat::run(args, progress),
        Command::Bench(args) => commands::bench::run(args, progress),
        Command::Export(args) => commands::export::run(args, progress),
        Command::RandomModel(args) => commands::random_model::run(args),
        Command::Completions(args) => commands::completions::run(args),
        Command::Man(args) => commands::man::run(args),
        #[cfg(feature = "server")]
        Command::Cloud(args) => commands::cloud::run(args, progress),
        #[cfg(feature = "server")]
        Command::Serve(args) => commands::serve::run(args, progress),
    }
}
