//! Checkpoints: `checkpoints/step-N/` holds weights, optimizer state, position in the data and
//! loss log. A checkpoint is written completely or not at all. The last two are kept.

use std::fs;
use std::path::{Path, PathBuf};

use burn::optim::ModuleOptimizer;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::log::Record;
use crate::config::PairTrainConfig;
use crate::error::PairError;
use crate::files::{self, Precision};
use crate::model::Qwen2;

const KEPT: usize = 2;

/// The position of a run between two optimizer steps.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Optimizer steps done.
    pub step: u64,
    /// Input tokens processed.
    pub tokens: u64,
    /// Seconds spent training.
    pub seconds: f64,
    /// First example of the current pool.
    pub pool_start: u64,
    /// Step at which the pool was drawn.
    pub pool_step: u64,
    /// Number of finished batches of the pool.
    pub pool_batch: usize,
}

/// Everything that a run needs to resume.
pub struct Restored {
    pub state: State,
    pub model: Qwen2,
    pub optimizer: ModuleOptimizer,
    pub log: Vec<Record>,
}

/// Writes a checkpoint and removes all but the last two.
pub fn save(
    run: &Path,
    config: &PairTrainConfig,
    state: &State,
    model: &Qwen2,
    optimizer: &ModuleOptimizer,
    log: &[Record],
) -> Result<(), PairError> {
    let parent = run.join("checkpoints");
    let target = parent.join(format!("step-{:08}", state.step));
    let sibling = files::temporary(&target);
    if sibling.exists() {
        fs::remove_dir_all(&sibling).map_err(PairError::io(&sibling))?;
    }
    fs::create_dir_all(&sibling).map_err(PairError::io(&sibling))?;
    let weights = sibling.join("model.safetensors");
    files::write_weights(&weights, &model.named_parameters(), Precision::F32)?;
    let optimizer_path = sibling.join("optimizer.bpk");
    optimizer.save(&optimizer_path).map_err(PairError::format(&optimizer_path))?;
    files::write_json(&sibling.join("train.json"), config)?;
    files::write_json(&sibling.join("state.json"), state)?;
    super::log::write(&sibling.join("loss.jsonl"), log)?;
    if target.exists() {
        fs::remove_dir_all(&target).map_err(PairError::io(&target))?;
    }
    fs::rename(&sibling, &target).map_err(PairError::io(&target))?;
    let mut all = list(run)?;
    all.truncate(all.len().saturating_sub(KEPT));
    for old in all {
        fs::remove_dir_all(&old).map_err(PairError::io(&old))?;
    }
    Ok(())
}

/// Reads the newest checkpoint, if there is one. Its configuration must be the same, except for
/// the number of threads and the spacing of checkpoints.
pub fn restore(
    run: &Path,
    config: &PairTrainConfig,
    optimizer: ModuleOptimizer,
    device: &Device,
) -> Result<Option<Restored>, PairError> {
    let Some(path) = list(run)?.pop() else { return Ok(None) };
    let mut saved: PairTrainConfig = files::read_json(&path.join("train.json"))?;
    saved.threads = config.threads;
    saved.checkpoint_every = config.checkpoint_every;
    if saved != *config {
        let reason = "written by a run with another configuration: \
                      restore that configuration, or train into another directory";
        return Err(PairError::Format { path, reason: reason.to_owned() });
    }
    let state = files::read_json(&path.join("state.json"))?;
    let model = files::read_weights(&path.join("model.safetensors"), &config.model, device)?;
    let optimizer_path = path.join("optimizer.bpk");
    let optimizer = optimizer.load(&optimizer_path).map_err(PairError::format(&optimizer_path))?;
    let log = super::log::read(&path.join("loss.jsonl"))?;
    Ok(Some(Restored { state, model, optimizer, log }))
}

/// Checkpoints of a run, oldest first.
fn list(run: &Path) -> Result<Vec<PathBuf>, PairError> {
    let parent = run.join("checkpoints");
    if !parent.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&parent).map_err(PairError::io(&parent))? {
        let entry = entry.map_err(PairError::io(&parent))?;
        if entry.file_name().to_string_lossy().starts_with("step-") {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
