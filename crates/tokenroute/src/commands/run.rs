//! `tokenroute run`: every stage of an experiment, skipping what is done.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use tokenroute_core::Progress;
use tokenroute_lab::Chain;
use tokenroute_store as store;

use crate::args::Staged;
use crate::output;
use crate::progress::Terminal;

/// Labels, trains, sweeps and reports.
pub fn run(args: &Staged, progress: &Terminal) -> Result<()> {
    let chain = Chain::open(&args.experiment, progress)?;
    let stages: [(&str, &dyn Fn() -> Result<bool>); 4] = [
        ("label", &|| chain.label(&args.device)),
        ("train", &|| chain.train(&args.device)),
        ("sweep", &|| chain.sweep()),
        ("report", &|| chain.report()),
    ];
    for (name, stage) in stages {
        if stage()? {
            progress.note(&format!("{name}: unchanged, skipped"));
        }
    }
    let out = chain.report_folder();
    let summary = serde_json::from_slice(&store::read(&out.join("summary.json"))?)?;
    headline(&summary, &out).iter().try_for_each(|line| output::line(line))
}

/// The headline of a finished report, for the terminal.
fn headline(summary: &Value, out: &Path) -> Vec<String> {
    let share = |v: &Value| v.as_f64().map_or("-".to_owned(), |x| format!("{:.1}%", 100.0 * x));
    let mut lines = vec![format!(
        "SLM alone {}   LLM alone {}   APGR {}",
        share(&summary["slm"]["accuracy"]),
        share(&summary["llm"]["accuracy"]),
        summary["apgr"].as_f64().map_or("-".to_owned(), |x| format!("{x:.3}")),
    )];
    lines.push(
        "offload target   τ              offload   LLM positions   accuracy   95% interval      PGR"
            .into(),
    );
    for p in summary["points"].as_array().into_iter().flatten() {
        lines.push(format!(
            "{:>14}   {:<12}   {:>7}   {:>13}   {:>8}   {:>6} - {:<6}   {}",
            share(&p["target"]),
            p["tau"].as_f64().map_or("-".to_owned(), |t| format!("{:.6}", t)),
            share(&p["offload"]),
            p["llm_positions_per_question"].as_f64().map_or("-".to_owned(), |n| format!("{n:.1}")),
            share(&p["accuracy"]),
            share(&p["ci"][0]),
            share(&p["ci"][1]),
            p["pgr"].as_f64().map_or("-".to_owned(), |x| format!("{x:.2}")),
        ));
    }
    lines.push(format!("report: {}", output::shown(&out.join("index.html"))));
    lines
}
