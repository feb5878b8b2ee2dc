//! `tokenroute run`: runs all stages of an experiment and skips finished ones.

use anyhow::Result;
use tokenroute_core::Progress;
use tokenroute_report::{Summary, headline};
use tokenroute_store as store;

use crate::args::Staged;
use crate::output;
use crate::progress::Terminal;

/// Labels, trains, sweeps and reports.
pub fn run(args: &Staged, progress: &Terminal) -> Result<()> {
    let chain = args.experiment.open(progress)?;
    let stages: [(&str, &dyn Fn() -> Result<bool>); 4] = [
        ("label", &|| chain.label(&args.device)),
        ("train", &|| chain.train(&args.device)),
        ("sweep", &|| chain.sweep()),
        ("report", &|| chain.report(None)),
    ];
    for (name, stage) in stages {
        if stage()? {
            progress.note(&format!("{name}: unchanged, skipped"));
        }
    }
    let out = chain.report_folder();
    let summary: Summary = serde_json::from_slice(&store::read(&out.join("summary.json"))?)?;
    headline(&summary).iter().try_for_each(|line| output::line(line))?;
    output::line(&format!("report: {}", output::shown(&out.join("index.html"))))
}
