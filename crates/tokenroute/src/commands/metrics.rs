//! `tokenroute metrics`: the figures of routers that decide once a question, from a table.

use anyhow::{Result, ensure};
use tokenroute_store::{OutcomeColumns, read_outcomes};
use tokenroute_sweep::study::outcomes::{
    Figure, OutcomeSettings, OutcomeStudy, RouterFigures, study_outcomes,
};
use tokenroute_sweep::study::{Comparison, Resampling};

use crate::args::Metrics;
use crate::output;

/// Width of a router's name in the tables.
const NAME: usize = 20;
/// Width of a figure with its interval.
const FIGURE: usize = 26;

/// Prints accuracy, PGR, APGR and CPT of every router of a table.
pub fn run(args: &Metrics) -> Result<()> {
    for share in &args.cpt {
        ensure!(
            *share > 0.0 && share.is_finite(),
            "--cpt is {share}; expected a share of the gap above 0"
        );
    }
    for share in &args.offload {
        ensure!((0.0..=1.0).contains(share), "--offload is {share}; expected a share from 0 to 1");
    }
    let columns = OutcomeColumns {
        id: args.id.clone(),
        weak: args.weak.clone(),
        strong: args.strong.clone(),
        scores: args.score.clone(),
        thresholds: args.threshold.clone(),
        weak_cost: args.weak_cost.clone(),
        strong_cost: args.strong_cost.clone(),
    };
    let table = read_outcomes(&args.path, &columns)?;
    let resampling = Resampling { resamples: args.resamples, seed: args.seed };
    let settings = OutcomeSettings { cpt: &args.cpt, offloads: &args.offload, resampling };
    let study = study_outcomes(&table, settings)?;
    if args.json { output::json(&study) } else { print(&study) }
}

fn print(study: &OutcomeStudy) -> Result<()> {
    output::line(&format!(
        "{} questions, accuracy of the weak model {}, of the strong model {}",
        study.questions,
        figure(&study.weak),
        figure(&study.strong)
    ))?;
    if study.random.apgr.is_none() {
        output::line("the strong model is no better than the weak one: no PGR, APGR or CPT")?;
    }
    output::line(&format!(
        "95% intervals from {} resamples of the questions, thresholds chosen anew in each",
        study.resamples
    ))?;
    if study.resamples_without_gap > 0 {
        output::line(&format!(
            "{} resamples have no performance gap and count against every difference",
            study.resamples_without_gap
        ))?;
    }
    let policies: Vec<&RouterFigures> =
        study.routers.iter().chain([&study.random, &study.optimal]).collect();
    areas(&policies)?;
    for i in 0..study.random.points.len() {
        points(&policies, i)?;
    }
    output::line("")?;
    compared(study)
}

/// APGR and CPT.
fn areas(policies: &[&RouterFigures]) -> Result<()> {
    let mut head = vec!["APGR [0, 1]".to_owned(), "APGR [0, 0.2]".to_owned()];
    if let Some(first) = policies.first() {
        head.extend(first.cpt.iter().map(|cpt| format!("CPT({})", cpt.level)));
    }
    output::line("")?;
    row("", &head)?;
    for policy in policies {
        let mut cells = vec![optional(policy.apgr.as_ref()), optional(policy.apgr20.as_ref())];
        cells.extend(policy.cpt.iter().map(|cpt| {
            let reached = cpt.offload.map(|value| Figure { value, interval: cpt.interval });
            optional(reached.as_ref())
        }));
        row(&policy.name, &cells)?;
    }
    Ok(())
}

/// Accuracy at one offload ratio.
fn points(policies: &[&RouterFigures], i: usize) -> Result<()> {
    let Some(first) = policies.first().map(|policy| &policy.points[i]) else { return Ok(()) };
    let mut head: Vec<String> =
        [&format!("accuracy at offload {}", first.target), "reached", "PGR"]
            .map(str::to_owned)
            .into();
    if first.cost.is_some() {
        head.push("cost a question".to_owned());
    }
    output::line("")?;
    row("", &head)?;
    for policy in policies {
        let point = &policy.points[i];
        let mut cells = vec![figure(&point.accuracy), number(point.offload)];
        cells.push(point.pgr.map_or_else(|| "-".to_owned(), number));
        cells.extend(point.cost.map(|cost| format!("{cost:.4e}")));
        row(&policy.name, &cells)?;
    }
    Ok(())
}

/// Every pair of routers.
fn compared(study: &OutcomeStudy) -> Result<()> {
    for pair in &study.comparisons {
        for (name, compared) in [("[0, 1]", &pair.apgr), ("[0, 0.2]", &pair.apgr20)] {
            let Some(Comparison { difference, detectable, p, holm_p, .. }) = compared else {
                continue;
            };
            let [low, high] = difference.interval;
            output::line(&format!(
                "APGR {name} of {} less that of {}: {:+.4} [{low:+.4}, {high:+.4}], p = {}, \
                 corrected {}, detectable {detectable:.4}",
                pair.router,
                pair.other,
                difference.value,
                probability(*p),
                probability(*holm_p)
            ))?;
        }
    }
    Ok(())
}

fn row(name: &str, cells: &[String]) -> Result<()> {
    let mut line = format!("{name:NAME$}");
    for cell in cells {
        line += &format!("  {cell:FIGURE$}");
    }
    output::line(line.trim_end())
}

fn figure(figure: &Figure) -> String {
    let value = number(figure.value);
    figure.interval.map_or(value.clone(), |[low, high]| format!("{value} [{low:.4}, {high:.4}]"))
}

fn optional(found: Option<&Figure>) -> String {
    found.map_or_else(|| "-".to_owned(), figure)
}

fn number(value: f64) -> String {
    format!("{value:.4}")
}

fn probability(p: Option<f64>) -> String {
    p.map_or_else(|| "-".to_owned(), |p| format!("{p:.4}"))
}
