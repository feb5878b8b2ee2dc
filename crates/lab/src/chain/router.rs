//! The train stage: label table to router files, one for each seed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokenroute_core::LabelRow;
use tokenroute_model::RouterScorer;
use tokenroute_store::{self as store, Columns, Manifest};
use tokenroute_train::{Provenance, TrainConfig, Trained};

use super::sweep::ROUTER;
use super::{Chain, timing};

/// Where the router lies, under `run/`.
pub const FOLDER: &str = "router";

/// The course of the training, one line for each epoch of each seed.
const HISTORY: &str = "train.jsonl";

/// One of the routers of an experiment: the name of its policy, and its seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeededRouter {
    /// "router" for the first, "router-seed-2" for that of seed 2.
    pub policy: String,
    /// The seed.
    pub seed: u64,
}

impl SeededRouter {
    /// Its file's name in [`FOLDER`].
    fn file(&self) -> String {
        format!("{}.safetensors", self.policy)
    }
}

/// A finished label table.
pub(super) struct LabelTable {
    /// What its routers are bound to.
    pub(super) provenance: Provenance,
    /// All rounds.
    pub(super) rows: Vec<LabelRow>,
}

impl Chain<'_> {
    /// Trains the router, or finds it trained. Returns whether it was skipped.
    pub fn train(&self, device: &str) -> Result<bool> {
        let folder = self.experiment.run(FOLDER);
        let work = self.train_work()?;
        if work.finished(&folder, &self.hashes)?.is_some() {
            return Ok(true);
        }
        self.lock()?;
        timing::forget(&folder)?;
        self.timed(&folder, || {
            let (labels, rows) = self.label_rows(Columns::All)?;
            let files: Vec<(u64, String)> =
                self.seeded_routers().iter().map(|router| (router.seed, router.file())).collect();
            let table = LabelTable { provenance: self.provenance(labels), rows };
            self.train_into(&folder, work, &self.train_config(), &files, &table, device)
        })?;
        self.progress.finish();
        Ok(false)
    }

    /// Trains a router for each seed, writes them with these names and ends the stage.
    pub(super) fn train_into(
        &self,
        folder: &Path,
        mut work: Manifest,
        config: &TrainConfig,
        files: &[(u64, String)],
        table: &LabelTable,
        device: &str,
    ) -> Result<()> {
        let device = tokenroute_train::device(device)?;
        let seeds: Vec<u64> = files.iter().map(|(seed, _)| *seed).collect();
        let LabelTable { provenance, rows } = table;
        let trained = tokenroute_train::train_seeds(
            config,
            &seeds,
            rows,
            provenance,
            &device,
            self.progress,
        )?;
        let mut history = Vec::new();
        for ((_, name), Trained { file, history: epochs }) in files.iter().zip(trained) {
            file.write(&folder.join(name))?;
            work.add_output(folder, name)?;
            for epoch in epochs {
                serde_json::to_writer(&mut history, &epoch)?;
                history.push(b'\n');
            }
        }
        // No stage reads it.
        store::write(&folder.join(HISTORY), &history)?;
        Ok(work.save(folder)?)
    }

    /// The first trained router, checked against the pair, and its file's hash.
    pub fn router(&self) -> Result<(RouterScorer, String)> {
        let mut routers = self.routers(1)?;
        let (_, scorer, hash) = routers.remove(0);
        Ok((scorer, hash))
    }

    /// The first routers, as many as asked for, in the order of their seeds: each checked
    /// against the pair, with its file's hash.
    pub fn routers(&self, most: usize) -> Result<Vec<(SeededRouter, RouterScorer, String)>> {
        let folder = self.experiment.run(FOLDER);
        self.train_work()?
            .finished(&folder, &self.hashes)?
            .context("the router is missing or stale; run `tokenroute train` on the experiment")?;
        let mut found = Vec::new();
        for router in self.seeded_routers().into_iter().take(most) {
            let path = folder.join(router.file());
            let scorer = self.open_router(&path)?;
            found.push((router, scorer, self.hashes.sha256(&path)?));
        }
        Ok(found)
    }

    /// Opens a router file and checks it against the pair.
    pub(super) fn open_router(&self, path: &Path) -> Result<RouterScorer> {
        let mut scorer = RouterScorer::open(path)?;
        self.check_router(&scorer)?;
        if let Some(pair) = self.loaded.get() {
            scorer.share_threads(pair.slm.model());
        }
        Ok(scorer)
    }

    /// Checks that a router belongs to the pair.
    pub(super) fn check_router(&self, scorer: &RouterScorer) -> Result<()> {
        Ok(scorer.check(&self.named.info, self.slm().vocabulary.hash())?)
    }

    /// The routers that the experiment asks for, trained or not.
    pub fn seeded_routers(&self) -> Vec<SeededRouter> {
        let seeds = self.experiment.train.seeds.of(self.experiment.seed);
        let name = |(i, seed)| SeededRouter {
            policy: if i == 0 { ROUTER.to_owned() } else { format!("{ROUTER}-seed-{seed}") },
            seed,
        };
        seeds.into_iter().enumerate().map(name).collect()
    }

    /// Where the first router's file lies.
    pub fn router_path(&self) -> PathBuf {
        self.experiment.run(FOLDER).join(format!("{ROUTER}.safetensors"))
    }

    fn train_work(&self) -> Result<Manifest> {
        self.train_work_of(&self.train_config())
    }

    /// The manifest of a training before the work.
    pub(super) fn train_work_of(&self, config: &TrainConfig) -> Result<Manifest> {
        let asked = self.label_questions()?;
        let manifests = self.labelled(&asked)?.context(
            "the label table is missing or stale; run `tokenroute label` on the experiment first",
        )?;
        let hashes: Vec<String> = manifests.iter().map(Manifest::outputs_hash).collect();
        let labels = store::sha256(hashes.join("\n").as_bytes());
        let config = serde_json::to_value(config)?;
        Ok(self.manifest("train", config).with_input("labels", &labels))
    }
}
