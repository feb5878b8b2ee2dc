//! Arguments of the commands that set up a shell or a system for `tokenroute`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell that completes commands and options.
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct Man {
    /// The folder to write; one page for each command.
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
}
