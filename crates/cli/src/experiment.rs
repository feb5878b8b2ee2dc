//! The experiment file: one section per stage, unknown keys refused, paths
//! relative to the file itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tokenroute_label::Reference;

/// An experiment.toml as written.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Title of the report.
    pub title: String,
    /// Seed of every stage.
    #[serde(default)]
    pub seed: u64,
    /// The two models.
    pub pair: PairSection,
    /// The questions.
    pub data: DataSection,
    /// Labelling.
    #[serde(default)]
    pub label: LabelSection,
    /// Training.
    #[serde(default)]
    pub train: tokenroute_train::TrainConfig,
    /// Sweeping.
    pub sweep: SweepSection,
    /// Reporting.
    pub report: ReportSection,
    /// Folder of the file; not part of it.
    #[serde(skip)]
    pub folder: PathBuf,
    /// The file as the user named it; not part of it.
    #[serde(skip)]
    pub file: PathBuf,
}

/// The two models of the pair.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSection {
    /// Folder of the SLM.
    pub slm: PathBuf,
    /// Folder of the LLM.
    pub llm: PathBuf,
}

/// The questions and how many of each split.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Folder of the data set, with its dataset.toml.
    pub dataset: PathBuf,
    /// Most tokens of an answer.
    #[serde(default = "default_max_tokens")]
    pub max_tokens: usize,
    /// Questions to label for training.
    pub router_train: usize,
    /// Questions to validate and calibrate on.
    pub validation: usize,
    /// Questions to test on.
    pub test: usize,
    /// Questions of families the router never saw.
    #[serde(default)]
    pub test_ood: usize,
}

fn default_max_tokens() -> usize {
    128
}

/// Labelling.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelSection {
    /// "llm" (the LLM's own greedy answer) or "gold" (the data set's rationale).
    pub reference: Reference,
    /// Most rollouts per question; 0 means no limit.
    pub max_rollouts_per_question: usize,
    /// On-policy rounds after the first.
    pub rounds: u32,
    /// Offload ratio at which the on-policy rounds decode.
    pub on_policy_offload: f64,
    /// Questions per shard.
    pub questions_per_shard: usize,
}

impl Default for LabelSection {
    fn default() -> Self {
        LabelSection {
            reference: Reference::Llm,
            max_rollouts_per_question: 0,
            rounds: 1,
            on_policy_offload: 0.07,
            questions_per_shard: 100,
        }
    }
}

/// Sweeping.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepSection {
    /// Policies beside the router.
    pub baselines: Vec<String>,
    /// Bootstrap resamples.
    #[serde(default = "default_resamples")]
    pub resamples: usize,
    /// Questions swept and saved at a time.
    #[serde(default = "default_chunk")]
    pub chunk: usize,
}

fn default_resamples() -> usize {
    1000
}

fn default_chunk() -> usize {
    50
}

/// Reporting.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportSection {
    /// Folder of the report.
    pub folder: PathBuf,
    /// Example answers shown.
    #[serde(default = "default_examples")]
    pub examples: usize,
}

fn default_examples() -> usize {
    8
}

impl Experiment {
    /// Reads and checks an experiment file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the experiment {}", path.display()))?;
        let mut experiment: Experiment =
            toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        experiment.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        experiment.file = path.to_owned();
        for (key, count) in [
            ("data.router_train", experiment.data.router_train),
            ("data.validation", experiment.data.validation),
            ("data.test", experiment.data.test),
            ("data.max_tokens", experiment.data.max_tokens),
            ("sweep.resamples", experiment.sweep.resamples),
            ("sweep.chunk", experiment.sweep.chunk),
            ("label.questions_per_shard", experiment.label.questions_per_shard),
        ] {
            if count == 0 {
                bail!("{key} is 0 in {}; expected at least 1", path.display());
            }
        }
        let offload = experiment.label.on_policy_offload;
        if !(0.0..=1.0).contains(&offload) {
            bail!("label.on_policy_offload is {offload} in {}; expected 0 to 1", path.display());
        }
        Ok(experiment)
    }

    /// A path of the file, seen from where the program runs.
    pub fn path(&self, relative: &Path) -> PathBuf {
        self.folder.join(relative)
    }

    /// The file's last folders, which say the same on every machine.
    pub fn shown(&self) -> String {
        let parts: Vec<_> = self.file.components().rev().take(3).collect();
        let parts: PathBuf = parts.into_iter().rev().collect();
        parts.display().to_string()
    }

    /// Where a stage keeps its artefacts.
    pub fn run(&self, stage: &str) -> PathBuf {
        self.folder.join("run").join(stage)
    }
}
