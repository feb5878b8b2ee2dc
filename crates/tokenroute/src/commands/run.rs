//! `tokenroute run`: runs all stages of an experiment and skips finished ones.

use anyhow::Result;
use tokenroute_core::Progress;
use tokenroute_report::{Summary, headline};
use tokenroute_store as store;

use crate::args::{Run, Staged};
#[cfg(feature = "server")]
use crate::commands::watch;
use crate::output;

/// Labels, trains, sweeps and reports. With `--watch` a page follows it.
pub fn run(args: &Run, progress: &dyn Progress) -> Result<()> {
    #[cfg(feature = "server")]
    if let Some(address) = args.watch {
        let path = &args.staged.experiment.path;
        return watch::follow(address, path, progress, |watched| stages(&args.staged, watched));
    }
    stages(&args.staged, progress)
}

fn stages(args: &Staged, progress: &dyn Progress) -> Result<()> {
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
