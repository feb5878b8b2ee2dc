//! The train stage: label table to router files, one for each seed.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tokenroute_model::RouterScorer;
use tokenroute_store::{self as store, Columns, Manifest};
use tokenroute_train::Trained;

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
            let device = tokenroute_train::device(device)?;
            let (config, routers) = (self.train_config(), self.seeded_routers());
            let seeds: Vec<u64> = routers.iter().map(|router| router.seed).collect();
            let provenance = self.provenance(labels);
            let trained = tokenroute_train::train_seeds(
                &config,
                &seeds,
                &rows,
                &provenance,
                &device,
                self.progress,
            )?;
            let mut work = work;
            let mut history = Vec::new();
            for (router, Trained { file, history: epochs }) in routers.iter().zip(trained) {
                file.write(&folder.join(router.file()))?;
                work.add_output(&folder, &router.file())?;
                for epoch in epochs {
                    serde_json::to_writer(&mut history, &epoch)?;
                    history.push(b'\n');
                }
            }
            // No stage reads it.
            store::write(&folder.join(HISTORY), &history)?;
            Ok(work.save(&folder)?)
        })?;
        self.progress.finish();
        Ok(false)
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
            let mut scorer = RouterScorer::open(&path)?;
            scorer.check(&self.named.info, self.slm().vocabulary.hash())?;
            if let Some(pair) = self.loaded.get() {
                scorer.share_threads(pair.slm.model());
            }
            found.push((router, scorer, self.hashes.sha256(&path)?));
        }
        Ok(found)
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
