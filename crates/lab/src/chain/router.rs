//! The train stage: label table to router file.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tokenroute_model::RouterScorer;
use tokenroute_store::{self as store, Columns, Manifest};

use super::{Chain, timing};

/// Where the router lies, under `run/`.
pub const FOLDER: &str = "router";
const FILE: &str = "router.safetensors";

impl Chain<'_> {
    /// Trains the router, or finds it trained. Returns whether it was skipped.
    pub fn train(&self, device: &str) -> Result<bool> {
        let folder = self.experiment.run(FOLDER);
        let work = self.train_work()?;
        if work.finished(&folder, &self.hashes)?.is_some() {
            return Ok(true);
        }
        timing::forget(&folder)?;
        self.timed(&folder, || {
            let (labels, rows) = self.label_rows(Columns::All)?;
            let device = tokenroute_train::device(device)?;
            let config = self.train_config();
            let file = tokenroute_train::train(
                &config,
                &rows,
                self.provenance(labels),
                &device,
                self.progress,
            )?;
            file.write(&folder.join(FILE))?;
            let mut work = work;
            work.add_output(&folder, FILE)?;
            Ok(work.save(&folder)?)
        })?;
        self.progress.finish();
        Ok(false)
    }

    /// The trained router, checked against the pair, and its file's hash.
    pub fn router(&self) -> Result<(RouterScorer, String)> {
        let folder = self.experiment.run(FOLDER);
        self.train_work()?
            .finished(&folder, &self.hashes)?
            .context("the router is missing or stale; run `tokenroute train` on the experiment")?;
        let path = self.router_path();
        let mut scorer = RouterScorer::open(&path)?;
        scorer.check(&self.named.info, self.slm().vocabulary.hash())?;
        if let Some(pair) = self.loaded.get() {
            scorer.share_threads(&pair.slm);
        }
        Ok((scorer, self.hashes.sha256(&path)?))
    }

    /// Where the router file lies.
    pub fn router_path(&self) -> PathBuf {
        self.experiment.run(FOLDER).join(FILE)
    }

    fn train_work(&self) -> Result<Manifest> {
        let asked = self.label_questions()?;
        let manifests = self.labelled(&asked)?.context(
            "the label table is missing or stale; run `tokenroute label` on the experiment first",
        )?;
        let hashes: Vec<String> = manifests.iter().map(Manifest::outputs_hash).collect();
        let labels = store::sha256(hashes.join("\n").as_bytes());
        let config = serde_json::to_value(self.train_config())?;
        Ok(self.manifest("train", config).with_input("labels", &labels))
    }
}
