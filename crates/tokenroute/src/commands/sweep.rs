//! `tokenroute sweep`: the sweep stage of an experiment.

use anyhow::Result;
use tokenroute_lab::chain::sweep::{FOLDER, llm_positions, shared_line};

use crate::args::Sweep;
use crate::output;
use crate::progress::Terminal;

/// Sweeps τ for the router and every baseline of an experiment.
pub fn run(args: &Sweep, progress: &Terminal) -> Result<()> {
    let chain = args.experiment.open(progress)?;
    if let Some(part) = args.part {
        let chain = chain.of_part(part);
        if chain.sweep()? {
            return output::line("the sweep is finished; no part is left to sweep");
        }
        let folder = chain.workplace();
        return output::line(&format!("part {part} is in {}", output::shown(&folder)));
    }
    if args.merge {
        chain.merge_sweep()?;
    } else {
        chain.sweep()?;
    }
    let (_, costs, _) = chain.swept()?;
    output::line(&format!("{} LLM positions, all policies", llm_positions(&costs)))?;
    output::line(&shared_line(&costs))?;
    if let Some(paid) = chain.usage_of(FOLDER) {
        output::line(&paid.to_string())?;
    }
    output::line(&output::shown(&chain.experiment.run(FOLDER)))
}
