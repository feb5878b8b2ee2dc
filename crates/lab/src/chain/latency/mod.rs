//! The network study beside an experiment's other artefacts. It is a stage of
//! its own, `tokenroute latency`; the report takes it in where it is there.

#[cfg(feature = "latency")]
mod network;
#[cfg(feature = "latency")]
mod study;

#[cfg(feature = "latency")]
use std::path::Path;

use anyhow::Result;
use serde_json::Value;
use tokenroute_store::{self as store, Manifest};
use tokenroute_sweep::latency::LatencyStudy;

use super::{Asked, Chain, questions_hash};

#[cfg(feature = "latency")]
pub use study::{StudyPlan, carry_out};

/// Where the study lies, under `run/`.
const FOLDER: &str = "latency";
const FILE: &str = "latency.json";
/// The split whose questions are decoded.
pub const SPLIT: &str = "test";

impl Chain<'_> {
    /// The study that is kept and its hash, if it is of this pair, this router
    /// and these questions.
    pub fn latency(&self) -> Result<Option<(LatencyStudy, String)>> {
        let folder = self.experiment.run(FOLDER);
        let Some(kept) = Manifest::load(&folder)? else { return Ok(None) };
        let asked = self.timed_questions(kept.config["questions"].as_u64().unwrap_or(0) as usize)?;
        let work = self.latency_work(kept.config.clone(), &asked)?;
        let Some(done) = work.finished(&folder)? else { return Ok(None) };
        // One of an earlier shape is measured anew.
        let study = serde_json::from_slice(&store::read(&folder.join(FILE))?).ok();
        Ok(study.map(|study| (study, done.outputs_hash())))
    }

    /// The first `count` test questions.
    fn timed_questions(&self, count: usize) -> Result<Asked> {
        let mut asked = self.questions(SPLIT)?;
        asked.questions.truncate(count);
        asked.prompts.truncate(count);
        Ok(asked)
    }

    fn latency_work(&self, config: Value, asked: &Asked) -> Result<Manifest> {
        let (_, router) = self.router()?;
        Ok(self
            .manifest("latency", config)
            .with_input("questions", &questions_hash(&[asked])?)
            .with_input("router", &router))
    }
}

/// Keeps a study.
#[cfg(feature = "latency")]
fn keep(folder: &Path, study: &LatencyStudy, mut work: Manifest) -> Result<()> {
    store::make_dir(folder)?;
    let mut json = serde_json::to_vec_pretty(study)?;
    json.push(b'\n');
    store::write(&folder.join(FILE), &json)?;
    work.add_output(folder, FILE)?;
    Ok(work.save(folder)?)
}
