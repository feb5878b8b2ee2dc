//! `tokenroute label`: the label stage of an experiment, or an estimate of its cost.

use anyhow::Result;
use serde::Serialize;
use tokenroute_core::Bytes;
use tokenroute_lab::chain::{Chain, labels};
use tokenroute_label::Estimate;

use super::inspect;
use crate::args::Label;
use crate::output;
use crate::progress::Terminal;

/// The expected cost of labelling. Bytes only if the LLM is on a server.
#[derive(Serialize)]
struct Estimated {
    #[serde(flatten)]
    estimate: Estimate,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<Bytes>,
}

/// Labels the questions of an experiment.
pub fn run(args: &Label, progress: &Terminal) -> Result<()> {
    let chain = Chain::open(&args.experiment.path, &args.experiment.set, progress)?;
    if args.estimate {
        let (estimate, bytes) = chain.estimate_labels()?;
        if args.json {
            return output::json(&Estimated { estimate, bytes });
        }
        let mut line = format!(
            "reference round: {} questions, {} LLM positions, {} SLM positions, about {:.0} s here",
            estimate.questions, estimate.llm_positions, estimate.slm_positions, estimate.seconds
        );
        if let Some(Bytes { up, down }) = bytes {
            line += &format!(", {up} bytes up, {down} bytes down");
        }
        return output::line(&line);
    }
    if args.keep_judgements {
        let (folder, shards) = chain.keep_judgements()?;
        return output::line(&format!("{shards} shards kept in {}", folder.display()));
    }
    chain.label(&args.device)?;
    let text = |token| chain.text(&[token]);
    let found = tokenroute_label::inspect(&chain.label_folders(), &text, 0)?;
    inspect::show(&found, chain.usage_of(labels::FOLDER), args.json)
}
