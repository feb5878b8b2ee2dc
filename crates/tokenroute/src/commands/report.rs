//! `tokenroute report`: the report stage of an experiment.

use anyhow::Result;

use crate::args::Report;
use crate::output;
use crate::progress::Terminal;

/// Renders the report of a swept experiment.
pub fn run(args: &Report, progress: &Terminal) -> Result<()> {
    let chain = args.experiment.open(progress)?;
    chain.report(args.out.as_deref())?;
    let folder = args.out.clone().unwrap_or_else(|| chain.report_folder());
    output::line(&output::shown(&folder.join("index.html")))
}
