//! `tokenroute completions`: prints a shell's completions.

use std::io::Write;

use anyhow::Result;
use clap::CommandFactory;

use crate::args::{Cli, Completions};

/// Prints the script that a shell reads.
pub fn run(args: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tokenroute", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}
