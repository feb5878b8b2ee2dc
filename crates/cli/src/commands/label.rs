//! `tokenroute label`: the label stage of an experiment, or what it would cost.

use anyhow::Result;

use super::inspect;
use crate::args::Label;
use crate::chain::Chain;
use crate::output;
use crate::progress::Terminal;

/// Labels the questions of an experiment.
pub fn run(args: &Label, progress: &Terminal) -> Result<()> {
    let chain = Chain::open(&args.experiment, progress)?;
    if args.estimate {
        let estimate = chain.estimate_labels()?;
        if args.json {
            return output::json(&estimate);
        }
        return output::line(&format!(
            "reference round: {} questions, {} LLM positions, {} SLM positions, about {:.0} s here",
            estimate.questions, estimate.llm_positions, estimate.slm_positions, estimate.seconds
        ));
    }
    chain.label(&args.device)?;
    let text = |token| chain.text(&[token]);
    let found = tokenroute_label::inspect(&chain.label_folders(), &text, 0)?;
    inspect::show(&found, args.json)
}
