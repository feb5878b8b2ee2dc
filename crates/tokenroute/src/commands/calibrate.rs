//! `tokenroute calibrate`: chooses τ for a target on the questions set aside for it, says how
//! far that can be trusted, and measures it on test.

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Serialize;
use tokenroute_core::{Curve, QuestionCurve, Tau};
use tokenroute_lab::chain::sweep::ROUTER;
use tokenroute_sweep::guarantee::guarantee;
use tokenroute_sweep::study::{Resampling, offload_met};

use crate::args::Calibrate;
use crate::output;
use crate::progress::Terminal;

#[derive(Serialize)]
struct Answer {
    tau: Tau,
    calibration: Reading,
    test: Reading,
    #[serde(skip_serializing_if = "Option::is_none")]
    guarantee: Option<Guaranteed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_met: Option<TargetMet>,
}

#[derive(Serialize)]
struct Reading {
    split: &'static str,
    offload: f64,
    accuracy: f64,
    llm_positions_per_question: f64,
    questions: u64,
}

/// What fixed-sequence testing guarantees.
#[derive(Serialize)]
struct Guaranteed {
    accuracy: f64,
    confidence: f64,
}

/// How often an offload target was met.
#[derive(Serialize)]
struct TargetMet {
    share: f64,
    resamples: usize,
}

/// Prints the τ that stays within an offload ratio or guarantees an accuracy.
pub fn run(args: &Calibrate) -> Result<()> {
    for (name, value) in [("--offload", args.offload), ("--accuracy", args.accuracy)] {
        if value.is_some_and(|v| !(0.0..=1.0).contains(&v)) {
            bail!("{name} is {}; expected a share from 0 to 1", value.unwrap_or_default());
        }
    }
    let confidence = args.confidence;
    ensure!(
        confidence > 0.0 && confidence < 1.0,
        "--confidence is {confidence}; expected a share between 0 and 1"
    );
    let progress = Terminal::new(true);
    let chain = args.experiment.open(&progress)?;
    let (curves, ..) = chain.swept()?;
    let questions = |split: &str| -> Result<&[QuestionCurve]> {
        let found = curves.iter().find(|c| c.policy == ROUTER && c.split == split);
        Ok(&found.with_context(|| format!("no curve on {split}"))?.curves)
    };
    let split = chain.experiment.data.calibration_split();
    let (chosen_on, measured_on) = (questions(split)?, questions("test")?);
    let (calibration, test) = (Curve::of(chosen_on), Curve::of(measured_on));
    let (mut guaranteed, mut target_met) = (None, None);
    let tau = match (args.offload, args.accuracy) {
        (Some(rho), _) => {
            let experiment = &chain.experiment;
            let resampling =
                Resampling { resamples: experiment.sweep.resamples, seed: experiment.seed };
            let share = offload_met(chosen_on, measured_on, rho, resampling);
            target_met = share.map(|share| TargetMet { share, resamples: resampling.resamples });
            calibration.tau_at_offload(rho)
        }
        (None, Some(accuracy)) => {
            guaranteed = Some(Guaranteed { accuracy, confidence });
            guarantee(&calibration, accuracy, confidence).map_err(|error| {
                anyhow!("{error}; lower --accuracy or --confidence, or set more questions aside")
            })?
        }
        (None, None) => bail!("give --offload or --accuracy"),
    };
    let read = |curve: &Curve, split| {
        let point = curve.at(tau);
        Reading {
            split,
            offload: point.offload(),
            accuracy: curve.accuracy(&point),
            llm_positions_per_question: point.llm_positions as f64 / curve.questions.max(1) as f64,
            questions: curve.questions,
        }
    };
    let answer = Answer {
        tau,
        calibration: read(&calibration, split),
        test: read(&test, "test"),
        guarantee: guaranteed,
        target_met,
    };
    if args.json { output::json(&answer) } else { print(&answer, args.offload) }
}

fn print(answer: &Answer, offload: Option<f64>) -> Result<()> {
    output::line(&format!("τ = {}", answer.tau))?;
    for at in [&answer.calibration, &answer.test] {
        output::line(&format!(
            "{}: offload {:.2}%, {:.1} LLM positions a question, accuracy {:.1}% on {} questions",
            at.split,
            100.0 * at.offload,
            at.llm_positions_per_question,
            100.0 * at.accuracy,
            at.questions
        ))?;
    }
    if let Some(found) = &answer.guarantee {
        output::line(&format!(
            "guaranteed: an accuracy of at least {} with confidence {}, on questions like the {} {} ones",
            percent(found.accuracy),
            percent(found.confidence),
            answer.calibration.questions,
            answer.calibration.split
        ))?;
    }
    if let (Some(met), Some(rho)) = (&answer.target_met, offload) {
        output::line(&format!(
            "target: offload on test stayed within {} in {:.1}% of {} resamples, τ chosen anew in each",
            percent(rho),
            100.0 * met.share,
            met.resamples
        ))?;
    }
    Ok(())
}

/// A share as a percentage, without the digits that only binary fractions have.
fn percent(share: f64) -> String {
    format!("{}%", (share * 1e8).round() / 1e6)
}
