//! `tokenroute train`: the train stage of an experiment.

use anyhow::Result;
use tokenroute_core::Trial;

use crate::args::Staged;
use crate::output;
use crate::progress::Terminal;

/// Trains the router of a labelled experiment.
pub fn run(args: &Staged, progress: &Terminal) -> Result<()> {
    let chain = args.experiment.open(progress)?;
    chain.train(&args.device)?;
    let (router, _) = chain.router()?;
    output::line(&output::shown(&chain.router_path()))?;
    let mut record = router.header().training.clone();
    if let Some(selection) = &mut record.selection {
        // The record in the file has them as well.
        let tried = std::mem::take(&mut selection.tried);
        output::line("cross-entropy   AUROC   AUPRC   settings, on the validation rows")?;
        for trial in by_loss(tried) {
            output::line(&format!(
                "{:13.5} {:7.4} {:7.4}   {}",
                trial.validation_loss,
                trial.auroc,
                trial.auprc,
                trial.settings()
            ))?;
        }
    }
    output::line(&serde_json::to_string_pretty(&record)?)
}

/// The chosen settings first.
fn by_loss(mut tried: Vec<Trial>) -> Vec<Trial> {
    tried.sort_by(|a, b| a.validation_loss.total_cmp(&b.validation_loss));
    tried
}
