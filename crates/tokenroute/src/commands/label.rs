//! `tokenroute label`: the label stage of an experiment, or an estimate of its cost.

use anyhow::Result;
use tokenroute_core::Bytes;
use tokenroute_lab::chain::{LabelEstimate, Merged, labels};

use super::inspect;
use crate::args::Label;
use crate::output;
use crate::progress::Terminal;

/// Labels the questions of an experiment.
pub fn run(args: &Label, progress: &Terminal) -> Result<()> {
    let chain = args.experiment.open(progress)?.with_states(args.states.clone())?;
    if let Some(file) = &args.paths {
        let paths = chain.write_paths(file)?;
        return output::line(&format!("{paths} paths in {}", output::shown(file)));
    }
    if args.estimate {
        let found = chain.estimate_labels(args.anew)?;
        if args.json {
            return output::json(&found);
        }
        let LabelEstimate { estimate, bytes, earlier } = found;
        let mut line = format!(
            "reference round: {} questions, {} LLM positions, {} SLM positions, about {:.0} s here, from {}{} questions",
            estimate.questions,
            estimate.llm_positions,
            estimate.slm_positions,
            estimate.seconds,
            if earlier { "an earlier measurement of " } else { "" },
            estimate.sample
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
    if let Some(part) = args.part {
        let chain = chain.of_part(part);
        if chain.label(&args.device)? {
            return output::line("the label table is finished; no part is left to label");
        }
        let folder = chain.workplace();
        return output::line(&format!("part {part} is in {}", output::shown(&folder)));
    }
    if args.merge {
        if let Merged::NextRound(round) = chain.merge_labels(&args.device)? {
            let before = round - 1;
            return output::line(&format!(
                "round {before} is merged and the router of round {round} is trained; label the parts of round {round} next"
            ));
        }
    } else {
        chain.label(&args.device)?;
    }
    let text = |token| chain.text(&[token]);
    let found = tokenroute_label::inspect(&chain.label_folders(), &text, 0)?;
    inspect::show(&found, chain.usage_of(labels::FOLDER), args.json)
}
