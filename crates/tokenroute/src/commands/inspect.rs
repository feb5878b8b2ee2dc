//! `tokenroute inspect`: prints a summary of a label table.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;
use tokenroute_lab::LlmUsage;
use tokenroute_label::Inspection;

use crate::args::Inspect;
use crate::output;

/// Prints counts, sizes and a sample of a label table.
pub fn run(args: &Inspect) -> Result<()> {
    let (folders, tokenizer) = target(args)?;
    let text = |token: u32| {
        let known = tokenizer.as_ref().and_then(|t| t.token_text(token).ok());
        known.unwrap_or_else(|| format!("#{token}"))
    };
    show(&tokenroute_label::inspect(&folders, &text, args.sample)?, None, args.json)
}

/// An inspection, with the calls that labelling made over a network.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    found: &'a Inspection,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid: Option<LlmUsage>,
}

fn target(args: &Inspect) -> Result<(Vec<PathBuf>, Option<tokenroute_model::Tokenizer>)> {
    if args.path.extension().is_some_and(|e| e == "toml") {
        let experiment = tokenroute_lab::Experiment::load(&args.path, &[])?;
        let slm = experiment.source(&experiment.pair.slm, &tokenroute_core::Silent)?;
        let rounds = 0..=experiment.label.rounds;
        let labels = experiment.run(tokenroute_lab::chain::labels::FOLDER);
        return Ok((
            rounds.map(|n| labels.join(format!("round-{n}"))).collect(),
            Some(tokenroute_model::Tokenizer::of_model(&slm)?),
        ));
    }
    Ok((vec![args.path.clone()], None))
}

/// Prints an inspection, with the calls that labelling made to a server if they are known.
pub fn show(found: &Inspection, paid: Option<LlmUsage>, json: bool) -> Result<()> {
    if json {
        return output::json(&Shown { found, paid });
    }
    output::line(&format!(
        "{} rows in {} shards, {} bytes, {} rollouts, {} LLM positions, {} SLM positions",
        found.rows,
        found.shards,
        found.bytes,
        found.rollouts,
        found.llm_positions,
        found.slm_positions
    ))?;
    if let Some(paid) = paid {
        output::line(&paid.to_string())?;
    }
    for group in &found.groups {
        let (c, s) = (&group.counts, &group.shares);
        output::line(&format!(
            "round {} {:12} {:5} questions  identical {} ({:.2}%)  neutral {} ({:.2}%, {} of \
             them wrong both ways)  divergent {} ({:.2}%)  unjudged {}",
            group.round,
            group.split,
            group.questions,
            c.identical,
            100.0 * s.identical,
            c.neutral + c.both_wrong,
            100.0 * s.neutral,
            c.both_wrong,
            c.divergent,
            100.0 * s.divergent,
            c.unjudged
        ))?;
    }
    for (whose, classes) in [("LLM", &found.divergent_by_llm), ("SLM", &found.divergent_by_slm)] {
        let total: u64 = classes.values().sum();
        let parts: Vec<String> = classes
            .iter()
            .map(|(class, n)| {
                format!("{} {:.1}%", class.name(), 100.0 * *n as f64 / total.max(1) as f64)
            })
            .collect();
        output::line(&format!("divergent by class of the {whose}'s token: {}", parts.join(", ")))?;
    }
    for row in &found.sample {
        output::line(&format!(
            "{} at {}: after {:?} the SLM says {:?}, the LLM {:?}: {}, target {}",
            row.question,
            row.position,
            row.previous,
            row.slm,
            row.llm,
            row.relation.name(),
            row.target
        ))?;
    }
    Ok(())
}
