//! `tokenroute man`: writes manual pages, one for each command.

use std::io::Write;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_mangen::Man;

use crate::args::{self, Cli};
use crate::output;

/// Writes `tokenroute.1`, and a page for every command, into a folder.
pub fn run(args: &args::Man) -> Result<()> {
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    let mut cli = Cli::command().disable_help_subcommand(true);
    cli.build();
    let commands = || cli.get_subcommands().filter(|command| !command.is_hide_set());
    let inner = commands().flat_map(|command| command.get_subcommands());
    for command in std::iter::once(&cli).chain(commands()).chain(inner) {
        let page = Man::new(command.clone());
        let path = args.out.join(page.get_filename());
        output::whole_file(&path, |file| {
            let mut text = Vec::new();
            page.render(&mut text)?;
            Ok(file.write_all(&text)?)
        })?;
    }
    Ok(())
}
