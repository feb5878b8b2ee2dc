//! The experiment file: one section per stage, unknown keys refused, paths
//! relative to the file itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokenroute_core::{Grader, Progress, PromptFormat, Tau};
use tokenroute_hub::fetched;
use tokenroute_label::Reference;
use tokenroute_model::Format;
use tokenroute_store::Schema;

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
    /// The SLM: a folder, a GGUF file or an `hf:` reference.
    pub slm: PathBuf,
    /// The LLM: the same, or the URL of a server.
    pub llm: PathBuf,
    /// API of that server, if its list of models does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_api: Option<String>,
    /// The model's name there; the first listed if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub llm_model: Option<String>,
    /// Quantise the SLM's weights.
    #[serde(default, with = "format", skip_serializing_if = "Option::is_none")]
    pub slm_quantize: Option<Format>,
    /// Quantise the LLM's weights.
    #[serde(default, with = "format", skip_serializing_if = "Option::is_none")]
    pub llm_quantize: Option<Format>,
}

/// A format as the name that users write.
mod format {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use tokenroute_model::Format;

    pub fn serialize<S: Serializer>(
        format: &Option<Format>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        format.map(|format| format.to_string()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Format>, D::Error> {
        let name = Option::<String>::deserialize(deserializer)?;
        name.map(|name| name.parse().map_err(D::Error::custom)).transpose()
    }
}

/// The questions and how many of each split.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSection {
    /// Folder of the data set, with its dataset.toml; or else `schema` and `files`.
    #[serde(default)]
    pub dataset: Option<PathBuf>,
    /// Whose columns `files` have.
    #[serde(default)]
    pub schema: Option<Schema>,
    /// Split name to its published file.
    #[serde(default)]
    pub files: BTreeMap<String, SplitFile>,
    /// How answers are judged; what suits the schema if left out.
    #[serde(default)]
    pub grader: Option<Grader>,
    /// How questions are asked; the bundled pair's format if left out.
    #[serde(default)]
    pub prompt: PromptFormat,
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

/// Where one split's questions lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFile {
    /// A local JSON Lines or Parquet file, or `hf:datasets/owner/name[@revision]:file`.
    pub file: PathBuf,
    /// Questions of the file to leave out at its start.
    #[serde(default)]
    pub skip: usize,
}

/// Splits an experiment uses, in the order of the stages.
pub const SPLITS: [&str; 4] = ["router-train", "validation", "test", "test-ood"];

impl DataSection {
    /// Questions wanted of a split.
    pub fn wanted(&self, split: &str) -> usize {
        match split {
            "router-train" => self.router_train,
            "validation" => self.validation,
            "test" => self.test,
            _ => self.test_ood,
        }
    }

    fn check(&self) -> Result<()> {
        self.prompt.check().context("in [data.prompt]")?;
        if self.dataset.is_some() {
            ensure!(
                self.schema.is_none() && self.files.is_empty() && self.grader.is_none(),
                "data.dataset goes with none of data.schema, data.files and data.grader: its questions say how they are judged"
            );
            return Ok(());
        }
        ensure!(self.schema.is_some(), "data needs `dataset`, or `schema` and `files`");
        if let Some(name) = self.files.keys().find(|name| !SPLITS.contains(&name.as_str())) {
            bail!("data.files.{name} is no split; expected {}", SPLITS.join(", "));
        }
        let mut taken: Vec<(&str, &SplitFile, usize)> = Vec::new();
        for split in SPLITS {
            let wanted = self.wanted(split);
            let Some(source) = self.files.get(split) else {
                ensure!(
                    wanted == 0,
                    "data wants {wanted} questions of {split}; name its file in data.files.{split}"
                );
                continue;
            };
            let overlaps = taken.iter().find(|(_, other, count)| {
                other.file == source.file
                    && source.skip < other.skip.saturating_add(*count)
                    && other.skip < source.skip.saturating_add(wanted)
            });
            if let Some((other, ..)) = overlaps {
                bail!(
                    "data.files.{split} and data.files.{other} share questions of one file; set `skip` so that they do not"
                );
            }
            taken.push((split, source, wanted));
        }
        Ok(())
    }
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
    /// Values that τ is restricted to, for trial runs of models that differ at nearly
    /// every token; left out, the sweep is exact at every τ.
    #[serde(default)]
    pub taus: Vec<f32>,
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
        for &tau in &experiment.sweep.taus {
            Tau::new(tau).with_context(|| format!("sweep.taus in {}", path.display()))?;
        }
        experiment.data.check().with_context(|| format!("in {}", path.display()))?;
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

    /// A model or data file of the experiment on this machine: a path of the file,
    /// or an `hf:` reference, fetched if need be.
    pub fn source(&self, named: &Path, progress: &dyn Progress) -> Result<PathBuf> {
        Ok(fetched(named, progress)?.unwrap_or_else(|| self.path(named)))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn experiments() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments")
    }

    #[test]
    fn every_experiment_of_the_tree_loads() {
        let mut loaded = Vec::new();
        for entry in std::fs::read_dir(experiments()).expect("experiments/") {
            let path = entry.expect("an entry").path().join("experiment.toml");
            if !path.is_file() {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("the file");
            let table: toml::Table = text.parse().expect("TOML");
            if table.contains_key("pair") {
                let experiment = Experiment::load(&path).unwrap_or_else(|e| panic!("{e:#}"));
                loaded.push(experiment.title);
            }
        }
        assert!(loaded.len() >= 4, "{loaded:?}");
    }

    #[test]
    fn the_bundled_experiments_ask_in_the_bundled_format() {
        for name in ["word-problems", "quickstart"] {
            let path = experiments().join(name).join("experiment.toml");
            let experiment = Experiment::load(&path).expect("a good file");
            assert_eq!(experiment.data.prompt, PromptFormat::default(), "{name}");
        }
    }

    #[test]
    fn data_sections_that_cannot_work_are_named() {
        let text = std::fs::read_to_string(experiments().join("csqa-qwen2.5/experiment.toml"));
        let text = text.expect("the file");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("experiment.toml");
        for (from, to, cause) in [
            ("schema = \"commonsense-qa\"", "", "data needs `dataset`"),
            ("schema = \"commonsense-qa\"", "schema = \"csqa\"", "unknown variant `csqa`"),
            ("schema = \"commonsense-qa\"", "dataset = \"x\"", "goes with none of"),
            ("[data.files.test]", "[data.files.dev]", "data.files.dev is no split"),
            ("test = 1221", "test = 1221\ntest_ood = 5", "name its file in data.files.test-ood"),
            ("skip = 9000", "skip = 999", "share questions of one file"),
            ("skip = 9000", "take = 9000", "unknown field `take`"),
            ("chat = true", "chat = true\nstyle = \"x\"", "unknown field `style`"),
            ("{choices}", "{options}", "{options} is unknown"),
            ("grader = \"choice\"", "grader = \"vibes\"", "unknown variant `vibes`"),
        ] {
            assert!(text.contains(from), "{from}");
            std::fs::write(&path, text.replace(from, to)).expect("a write");
            let error = format!("{:#}", Experiment::load(&path).expect_err(cause));
            assert!(error.contains(cause) && error.contains("experiment.toml"), "{error}");
        }
    }
}
