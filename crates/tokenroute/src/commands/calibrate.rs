//! `tokenroute calibrate`: chooses τ for a target on validation, and measures it on test.

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tokenroute_core::{Curve, Tau};
use tokenroute_lab::Chain;
use tokenroute_lab::chain::sweep::ROUTER;

use crate::args::Calibrate;
use crate::output;
use crate::progress::Terminal;

#[derive(Serialize)]
struct Answer {
    tau: Tau,
    validation: Reading,
    test: Reading,
}

#[derive(Serialize)]
struct Reading {
    offload: f64,
    accuracy: f64,
    llm_positions_per_question: f64,
    questions: u64,
}

/// Prints the τ that stays within an offload ratio or reaches an accuracy.
pub fn run(args: &Calibrate) -> Result<()> {
    for (name, value) in [("--offload", args.offload), ("--accuracy", args.accuracy)] {
        if value.is_some_and(|v| !(0.0..=1.0).contains(&v)) {
            bail!("{name} is {}; expected a share from 0 to 1", value.unwrap_or_default());
        }
    }
    let progress = Terminal::new(true);
    let chain = Chain::open(&args.experiment.path, &args.experiment.set, &progress)?;
    let (curves, ..) = chain.swept()?;
    let curve = |split: &str| -> Result<Curve> {
        let found = curves.iter().find(|c| c.policy == ROUTER && c.split == split);
        Ok(Curve::of(&found.with_context(|| format!("no curve on {split}"))?.curves))
    };
    let (validation, test) = (curve("validation")?, curve("test")?);
    let tau = match (args.offload, args.accuracy) {
        (Some(rho), _) => validation.tau_at_offload(rho),
        (None, Some(accuracy)) => validation.tau_at_accuracy(accuracy).with_context(|| {
            format!("no τ reaches an accuracy of {accuracy} on validation; lower --accuracy")
        })?,
        (None, None) => bail!("give --offload or --accuracy"),
    };
    let read = |curve: &Curve| {
        let point = curve.at(tau);
        Reading {
            offload: point.offload(),
            accuracy: curve.accuracy(&point),
            llm_positions_per_question: point.llm_positions as f64 / curve.questions.max(1) as f64,
            questions: curve.questions,
        }
    };
    let answer = Answer { tau, validation: read(&validation), test: read(&test) };
    if args.json {
        return output::json(&answer);
    }
    output::line(&format!("τ = {tau}"))?;
    for (split, at) in [("validation", &answer.validation), ("test", &answer.test)] {
        output::line(&format!(
            "{split}: offload {:.2}%, {:.1} LLM positions a question, accuracy {:.1}% on {} questions",
            100.0 * at.offload,
            at.llm_positions_per_question,
            100.0 * at.accuracy,
            at.questions
        ))?;
    }
    Ok(())
}
