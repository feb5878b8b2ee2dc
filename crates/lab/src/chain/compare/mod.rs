//! Several routers on the label table of one experiment: each is trained, all are swept on the
//! same answers and steps, and one report compares them with the first.
//!
//! The table is the experiment's own. Everything else lies in `run/comparisons/NAME/` beside the
//! compare.toml: `routers/` and `curves/` with a folder for each router, and `report/`. A router
//! that is added later is trained and swept alone.

mod file;
mod gather;
mod routers;
mod sweeping;

use std::path::{Path, PathBuf};

use anyhow::Result;
use tokenroute_core::Progress;
use tokenroute_model::RouterScorer;
use tokenroute_sweep::policies::Baseline;

use super::Chain;
use crate::experiment::{Experiment, Override};
use file::{Candidate, CompareFile};

/// A compare.toml with its experiment.
pub struct Compare<'a> {
    /// The experiment.
    pub chain: Chain<'a>,
    path: PathBuf,
    title: String,
    candidates: Vec<Candidate>,
    baselines: Vec<Baseline>,
}

impl<'a> Compare<'a> {
    /// Reads a compare.toml and its experiment, and checks both. `overrides` replace keys of the
    /// experiment. No model is loaded.
    pub fn open(path: &Path, overrides: &[Override], progress: &'a dyn Progress) -> Result<Self> {
        let file = CompareFile::read(path)?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let mut experiment = Experiment::load(&beside.join(&file.experiment), overrides)?;
        let candidates = file.candidates(path, &experiment)?;
        let baselines = file.baselines(path, &experiment)?;
        let files = candidates.iter().filter_map(|candidate| candidate.file.as_ref());
        let taken: Vec<_> = files.map(|file| RouterScorer::open(file)).collect::<Result<_, _>>()?;
        let tops = taken.iter().map(|scorer| scorer.header().features.top());
        experiment.top = tops.fold(experiment.top, usize::max);
        let chain = Chain::of(experiment, progress)?;
        // A router of another pair is refused before anything is labelled.
        taken.iter().try_for_each(|scorer| chain.check_router(scorer))?;
        let (path, title) = (path.to_owned(), file.title);
        Ok(Compare { chain, path, title, candidates, baselines })
    }

    /// The same comparison, with leave to run the program of the grader `command`.
    #[must_use]
    pub fn allowing_commands(self, allowed: bool) -> Self {
        Compare { chain: self.chain.allowing_commands(allowed), ..self }
    }

    /// Labels what is not labelled, then trains, sweeps and reports. What has not changed is
    /// skipped. The report is copied to `out` if given.
    pub fn run(&self, device: &str, out: Option<&Path>) -> Result<()> {
        let skipped = |stage: &str, skipped: bool| {
            if skipped {
                self.chain.progress.note(&format!("{stage}: unchanged, skipped"));
            }
        };
        skipped("label", self.label(device)?);
        skipped("train", self.train(device)?);
        skipped("sweep", self.sweep()?);
        skipped("report", self.report(out)?);
        Ok(())
    }

    /// Labels what is not labelled. Returns whether all was.
    fn label(&self, device: &str) -> Result<bool> {
        if self.chain.experiment.top == 0 {
            return self.chain.label(device);
        }
        // The table is the same whether or not a router of this comparison reads more of a step.
        let experiment = Experiment { top: 0, ..self.chain.experiment.clone() };
        let plain = Chain::of(experiment, self.chain.progress)?;
        plain.allowing_commands(self.chain.allows_commands()).label(device)
    }

    /// Where the report lies.
    pub fn report_folder(&self) -> PathBuf {
        self.folder("report")
    }

    /// A folder of this comparison.
    fn folder(&self, name: &str) -> PathBuf {
        let own = self.path.file_stem().unwrap_or_default();
        let beside = self.path.parent().unwrap_or(Path::new(""));
        beside.join("run/comparisons").join(own).join(name)
    }
}
