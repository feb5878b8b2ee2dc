//! `tokenroute train`: the train stage of an experiment.

use anyhow::Result;
use tokenroute_lab::Chain;

use crate::args::Staged;
use crate::output;
use crate::progress::Terminal;

/// Trains the router of a labelled experiment.
pub fn run(args: &Staged, progress: &Terminal) -> Result<()> {
    let chain = Chain::open(&args.experiment.path, &args.experiment.set, progress)?;
    chain.train(&args.device)?;
    let (router, _) = chain.router()?;
    output::line(&format!(
        "{}\n{}",
        output::shown(&chain.router_path()),
        serde_json::to_string_pretty(&router.header().training)?
    ))
}
