//! The network study beside an experiment's other artefacts. It is a stage of
//! its own, `tokenroute latency`; the report takes it in where it is there.

#[cfg(feature = "latency")]
mod network;
#[cfg(feature = "latency")]
mod study;

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
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

/// A study beside a report that shows it, so that it outlives `run/`.
pub const KEPT: &str = "network.json";

/// A network study and what it was made from.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeptStudy {
    /// The manifest of the study.
    pub work: Manifest,
    /// The study.
    pub study: LatencyStudy,
}

impl KeptStudy {
    /// The JSON of [`KEPT`].
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }
}

impl Chain<'_> {
    /// The study of this pair, this router and these questions: the measured one, or the
    /// first that one of these reports keeps.
    pub fn network_study(&self, reports: &[&Path]) -> Result<Option<KeptStudy>> {
        if let Some(measured) = self.measured_study()? {
            return Ok(Some(measured));
        }
        for report in reports {
            let path = report.join(KEPT);
            if !store::exists(&path) {
                continue;
            }
            // A study of an earlier shape is left out, as one of another router is.
            let Ok(kept) = serde_json::from_slice::<KeptStudy>(&store::read(&path)?) else {
                continue;
            };
            if self.study_work(&kept.work)?.matches(&kept.work) {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }

    /// The study under `run/`.
    fn measured_study(&self) -> Result<Option<KeptStudy>> {
        let folder = self.experiment.run(FOLDER);
        let Some(found) = Manifest::load(&folder)? else { return Ok(None) };
        let Some(work) = self.study_work(&found)?.finished(&folder, &self.hashes)? else {
            return Ok(None);
        };
        // One of an earlier shape is measured anew.
        let study = serde_json::from_slice(&store::read(&folder.join(FILE))?).ok();
        Ok(study.map(|study| KeptStudy { work, study }))
    }

    /// The manifest that a study of this configuration has now.
    fn study_work(&self, found: &Manifest) -> Result<Manifest> {
        let count = found.config["questions"].as_u64().unwrap_or(0) as usize;
        self.latency_work(found.config.clone(), &self.timed_questions(count)?)
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
