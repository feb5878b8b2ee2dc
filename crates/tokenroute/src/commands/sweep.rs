//! `tokenroute sweep`: the sweep stage of an experiment.

use anyhow::Result;
use tokenroute_lab::chain::{
    Chain,
    sweep::{FOLDER, llm_positions, shared_line},
};

use crate::args::ExperimentFile;
use crate::output;
use crate::progress::Terminal;

/// Sweeps τ for the router and every baseline of an experiment.
pub fn run(args: &ExperimentFile, progress: &Terminal) -> Result<()> {
    let chain = Chain::open(&args.path, &args.set, progress)?;
    chain.sweep()?;
    let (_, costs, _) = chain.swept()?;
    output::line(&format!("{} LLM positions, all policies", llm_positions(&costs)))?;
    output::line(&shared_line(&costs))?;
    if let Some(paid) = chain.usage_of(FOLDER) {
        output::line(&paid.to_string())?;
    }
    output::line(&output::shown(&chain.experiment.run(FOLDER)))
}
