//! `tokenroute router`: routers out of this program and into it.

mod card;
mod export;
mod import;

use anyhow::Result;
use tokenroute_core::Progress;

use crate::args::RouterCommand;

/// Runs one of its commands.
pub fn run(command: &RouterCommand, progress: &dyn Progress) -> Result<()> {
    match command {
        RouterCommand::Export(args) => export::run(args, progress),
        RouterCommand::Import(args) => import::run(args, progress),
        RouterCommand::Card(args) => card::run(args),
    }
}
