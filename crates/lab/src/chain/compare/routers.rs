//! The routers of a comparison: each is trained for all its seeds and timed, or found trained.
//! One that was made elsewhere is checked and copied.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokenroute_core::{LabelRow, Position, Scorer, Step};
use tokenroute_model::RouterScorer;
use tokenroute_store::{self as store, Columns, Manifest};

use super::super::chunks::{read_json, write_json};
use super::super::diagnostics::{position, step};
use super::super::router::LabelTable;
use super::{Candidate, Compare};

/// The time of a score beside a router. It is measured once, and no manifest holds it.
const TIMED: &str = "step.json";

/// Labelled positions that a scorer is timed on.
const POSITIONS: usize = 256;

/// Passes over these positions, of which the fastest counts.
const PASSES: usize = 20;

/// Time of a score.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct StepTime {
    /// Microseconds on one thread, features and normalisation included.
    pub(super) microseconds: f64,
}

/// A trained router.
pub(super) struct TrainedRouter {
    pub(super) seed: u64,
    pub(super) scorer: RouterScorer,
    /// Hash of its file.
    pub(super) hash: String,
}

impl Candidate {
    /// Its seeds, with the names of their files.
    fn files(&self) -> Vec<(u64, String)> {
        let seeds = self.train.seeds.of(self.train.seed);
        seeds.into_iter().map(|seed| (seed, format!("seed-{seed}.safetensors"))).collect()
    }
}

impl Compare<'_> {
    /// Trains all routers that are not trained. Returns whether all were.
    pub(super) fn train(&self, device: &str) -> Result<bool> {
        let mut known: Option<LabelTable> = None;
        for candidate in &self.candidates {
            let folder = self.router_folder(candidate);
            let work = self.router_work(candidate)?;
            let done = work.finished(&folder, &self.chain.hashes)?.is_some();
            if done && store::exists(&folder.join(TIMED)) {
                continue;
            }
            if known.is_none() {
                known = Some(self.label_table()?);
            }
            let Some(table) = &known else { continue };
            self.chain
                .progress
                .note(&format!("router {:?}: {}", candidate.name, candidate.changes));
            self.chain.timed(&folder, || {
                if !done {
                    store::remove(&folder.join(TIMED))?;
                    let files = candidate.files();
                    match &candidate.file {
                        Some(file) => self.take_in(file, &folder, work, &files)?,
                        None => self.chain.train_into(
                            &folder,
                            work,
                            &candidate.train,
                            &files,
                            table,
                            device,
                        )?,
                    }
                }
                self.time(candidate, &table.rows)
            })?;
            self.chain.progress.finish();
        }
        Ok(known.is_none())
    }

    /// The manifest of a router before it is made or taken in.
    fn router_work(&self, candidate: &Candidate) -> Result<Manifest> {
        let Some(file) = &candidate.file else {
            return self.chain.train_work_of(&candidate.train);
        };
        let hash = self.chain.hashes.sha256(file)?;
        Ok(self.chain.manifest("router", json!({})).with_input("file", &hash))
    }

    /// Copies a router that was made elsewhere, and ends the stage.
    fn take_in(
        &self,
        file: &Path,
        folder: &Path,
        mut work: Manifest,
        files: &[(u64, String)],
    ) -> Result<()> {
        let bytes = store::read(file)?;
        for (_, name) in files {
            store::write(&folder.join(name), &bytes)?;
            work.add_output(folder, name)?;
        }
        Ok(work.save(folder)?)
    }

    fn label_table(&self) -> Result<LabelTable> {
        let (labels, rows) = self.chain.label_rows(Columns::All)?;
        Ok(LabelTable { provenance: self.chain.provenance(labels), rows })
    }

    /// The trained routers of a candidate, first seed first.
    pub(super) fn trained(&self, candidate: &Candidate) -> Result<Vec<TrainedRouter>> {
        let folder = self.router_folder(candidate);
        self.router_work(candidate)?
            .finished(&folder, &self.chain.hashes)?
            .with_context(|| format!("router {:?} is missing or stale", candidate.name))?;
        let mut found = Vec::new();
        for (seed, file) in candidate.files() {
            let path = folder.join(file);
            let scorer = self.chain.open_router(&path)?;
            found.push(TrainedRouter { seed, scorer, hash: self.chain.hashes.sha256(&path)? });
        }
        Ok(found)
    }

    /// The time of a score of a candidate's first router.
    pub(super) fn step_time(&self, candidate: &Candidate) -> Result<StepTime> {
        read_json(&self.router_folder(candidate).join(TIMED))
    }

    fn router_folder(&self, candidate: &Candidate) -> PathBuf {
        self.folder("routers").join(&candidate.folder)
    }

    /// Times the first router of a candidate on labelled positions of the questions that
    /// calibrate.
    fn time(&self, candidate: &Candidate, rows: &[LabelRow]) -> Result<()> {
        let folder = self.router_folder(candidate);
        let first = candidate.files().into_iter().next().context("a router without a seed")?.1;
        // Opened here, it works on one thread.
        let scorer = RouterScorer::open(&folder.join(first))?;
        let split = self.chain.experiment.data.calibration_split();
        let rows = || rows.iter().filter(|row| row.split == split).take(POSITIONS);
        // The table holds no logits, and their values take no time.
        let logits = vec![0.0; scorer.header().features.top_logits];
        let with = |step| Step { top_logits: logits.clone(), ..step };
        let steps: Vec<Step> = rows().map(step).map(with).collect();
        let positions: Vec<Position<'_>> =
            rows().zip(&steps).map(|(row, step)| position(row, step)).collect();
        record(&folder.join(TIMED), fastest(&scorer, &positions)?)
    }
}

/// Microseconds a score in the fastest of several passes: others were disturbed.
fn fastest(scorer: &RouterScorer, positions: &[Position<'_>]) -> Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..PASSES {
        let begun = Instant::now();
        let mut state = None;
        for position in positions {
            let at = Position { state: state.as_ref(), ..*position };
            let scored = black_box(scorer.scored(&at)?);
            state = scored.state;
        }
        least = least.min(begun.elapsed().as_secs_f64());
    }
    Ok(1e6 * least / positions.len().max(1) as f64)
}

fn record(path: &Path, microseconds: f64) -> Result<()> {
    write_json(path, &StepTime { microseconds })
}
