//! `tokenroute router card`: a router and its model card, as the Hub has them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use tokenroute::short_name;
use tokenroute_hub::{HubReference, ROUTER_FILE, reference};
use tokenroute_lab::chain::router;
use tokenroute_lab::{Experiment, SPLITS};
use tokenroute_report::{RouterCard, Summary};
use tokenroute_store::{self as store, RouterFile};

use crate::args;
use crate::output;

/// Checks that the report is of the router, and writes both files.
pub fn run(args: &args::RouterCard) -> Result<()> {
    let experiment = Experiment::load(&args.experiment.path, &args.experiment.set)?;
    let first = || experiment.run(router::FOLDER).join(ROUTER_FILE);
    let path = args.router.clone().unwrap_or_else(first);
    let rendered = || experiment.report_folder().join("summary.json");
    let summary_path = args.summary.clone().unwrap_or_else(rendered);
    let bytes = store::read(&path)?;
    let file = RouterFile::parse(&path, &bytes)?;
    let summary = store::read(&summary_path)
        .context("the report is missing; run `tokenroute run` on the experiment first")?;
    let summary: Summary = serde_json::from_slice(&summary)
        .with_context(|| format!("{} is no summary of a report", summary_path.display()))?;
    let (hash, measured) = (store::sha256(&bytes), summary.provenance.get("router"));
    ensure!(
        measured.and_then(|hash| hash.as_str()) == Some(hash.as_str()),
        "{} is of the router {}, and {} has the hash {hash}; name the summary of this router",
        summary_path.display(),
        measured.map_or_else(|| "without a hash".to_owned(), ToString::to_string),
        path.display(),
    );
    let pair = [&experiment.pair.slm, &experiment.pair.llm];
    let [slm, llm] = pair.map(|named| on_hub(named).unwrap_or_else(|| short_name(named)));
    let data = &experiment.data;
    let questions = SPLITS.into_iter().map(|split| (split, data.wanted(split)));
    let sources: Vec<&Path> = data
        .dataset
        .iter()
        .map(AsRef::as_ref)
        .chain(data.files.values().map(|f| &*f.file))
        .collect();
    let mut datasets: Vec<String> = sources.iter().filter_map(|source| on_hub(source)).collect();
    datasets.sort();
    datasets.dedup();
    let named = |source: &&Path| on_hub(source).unwrap_or_else(|| short_name(source));
    let mut named: Vec<String> = sources.iter().map(named).collect();
    named.sort();
    named.dedup();
    let card = RouterCard {
        title: &experiment.title,
        header: &file.header,
        parameters: file.header.parameters() as u64,
        summary: &summary,
        slm: &slm,
        llm: &llm,
        base_models: pair.into_iter().filter_map(|named| on_hub(named)).collect(),
        datasets,
        data: &named.join(", "),
        questions: questions.filter(|(_, count)| *count > 0).collect(),
        license: args.license.as_deref(),
    };
    store::make_dir(&args.out)?;
    store::write_all(
        &args.out,
        &[(ROUTER_FILE, &bytes), ("README.md", card.markdown().as_bytes())],
    )?;
    output::line(&output::shown(&args.out))
}

/// The repository of an `hf:` reference: `owner/name`.
fn on_hub(named: &Path) -> Option<String> {
    let parsed: HubReference = reference(named)?.parse().ok()?;
    Some(parsed.repository)
}
