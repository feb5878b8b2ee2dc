//! `tokenroute report`: the report stage of an experiment.

use anyhow::Result;
use tokenroute_lab::Chain;

use crate::args::Staged;
use crate::output;
use crate::progress::Terminal;

/// Renders the report of a swept experiment.
pub fn run(args: &Staged, progress: &Terminal) -> Result<()> {
    let chain = Chain::open(&args.experiment, progress)?;
    chain.report()?;
    output::line(&output::shown(&chain.report_folder().join("index.html")))
}
