//! The network study of an experiment: a stage of its own, `tokenroute latency`. The report
//! includes it if it is there.

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

/// Path of the study under `run/`.
const FOLDER: &str = "latency";
const FILE: &str = "latency.json";
/// The split of the decoded questions.
pub const SPLIT: &str = "test";

/// A copy of the study in the report's folder, so that it outlives `run/`.
pub const KEPT: &str = "network.json";

/// A network study and its inputs.
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
    /// The study of this pair, this router and these questions: the measured one, or the first
    /// one found in these reports.
    pub fn network_study(&self, reports: &[&Path]) -> Result<Option<KeptStudy>> {
        if let Some(measured) = self.measured_study()? {
            return Ok(Some(measured));
        }
        for report in reports {
            let path = report.join(KEPT);
            if !store::exists(&path) {
                continue;
            }
            // A study of an earlier shape is ignored, like one of another router.
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
        // A study of an earlier shape is measured again.
        let study = serde_json::from_slice(&store::read(&folder.join(FILE))?).ok();
        Ok(study.map(|study| KeptStudy { work, study }))
    }

    /// The manifest of a study with the present configuration.
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

/// Stores a study.
#[cfg(feature = "latency")]
fn keep(folder: &Path, study: &LatencyStudy, mut work: Manifest) -> Result<()> {
    store::make_dir(folder)?;
    let mut json = serde_json::to_vec_pretty(study)?;
    json.push(b'\n');
    store::write(&folder.join(FILE), &json)?;
    work.add_output(folder, FILE)?;
    Ok(work.save(folder)?)
}
