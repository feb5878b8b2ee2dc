//! `tokenroute compare`: several routers on the label table of one experiment.

use anyhow::Result;
use tokenroute_lab::Compare;
use tokenroute_report::comparison::ComparisonSummary;
use tokenroute_store as store;

use crate::args;
use crate::output;
use crate::progress::Terminal;

/// Labels, trains, sweeps and reports.
pub fn run(args: &args::Compare, progress: &Terminal) -> Result<()> {
    let compare = Compare::open(&args.path, &args.set, progress)?;
    let compare = compare.allowing_commands(args.allow_commands);
    compare.run(&args.device, args.out.as_deref())?;
    let folder = compare.report_folder();
    let bytes = store::read(&folder.join("summary.json"))?;
    let summary: ComparisonSummary = serde_json::from_slice(&bytes)?;
    for router in &summary.routers {
        let apgr = router.apgr20.map_or("none".to_owned(), |apgr| format!("{apgr:.3}"));
        let ends = router.apgr20_ci.map(|[low, high]| format!(" ({low:.3} to {high:.3})"));
        output::line(&format!("{}: APGR[0, .2] {apgr}{}", router.name, ends.unwrap_or_default()))?;
    }
    output::line(&format!("report: {}", output::shown(&folder.join("index.html"))))
}
