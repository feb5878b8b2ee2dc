//! The experiment file: one section per stage. Unknown keys are refused, and paths are
//! relative to the file.

pub(crate) mod check;
mod format_name;
mod graders;
mod overrides;
mod prices;
mod schema;
mod sections;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokenroute_core::Progress;
use tokenroute_hub::{HubError, fetched};
use tokenroute_train::TrainConfig;
use toml::Table;

use crate::{LabError, chain};
pub use graders::{CommandSection, JudgeSection};
pub use overrides::Override;
pub use schema::experiment_schema;
pub use sections::{
    DataSection, LabelSection, PairSection, ReportSection, SPLITS, SplitFile, SweepSection,
};

/// An experiment.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
    pub train: TrainConfig,
    /// Sweeping.
    pub sweep: SweepSection,
    /// Reporting.
    #[serde(default)]
    pub report: ReportSection,
    /// The file, as the user named it.
    #[serde(skip)]
    pub file: PathBuf,
    /// What replaced keys of the file.
    #[serde(skip)]
    pub overrides: Vec<Override>,
    /// Most probable tokens that a router which was made elsewhere reads of a step.
    #[serde(skip)]
    pub top: usize,
}

impl Experiment {
    /// Reads an experiment file, applies overrides and checks all of it.
    ///
    /// # Errors
    /// A file that cannot be read, an override that does not fit, or the first key that
    /// cannot work.
    pub fn load(path: &Path, overrides: &[Override]) -> Result<Self, LabError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| LabError::Read { path: path.to_owned(), source })?;
        let refuse = |error: toml::de::Error| LabError::Toml {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        };
        let mut experiment: Experiment = if overrides.is_empty() {
            toml::from_str(&text).map_err(refuse)?
        } else {
            let mut table: Table = text.parse().map_err(refuse)?;
            for replaced in overrides {
                replaced.apply(&mut table)?;
            }
            Experiment::of_table(table).map_err(refuse)?
        };
        experiment.file = path.to_owned();
        experiment.overrides = overrides.to_vec();
        experiment.check()?;
        Ok(experiment)
    }

    fn of_table(table: Table) -> Result<Self, toml::de::Error> {
        toml::Value::Table(table).try_into()
    }

    /// Folder of the file.
    pub(crate) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }

    /// A path of the file, seen from where the program runs.
    #[must_use]
    pub fn path(&self, relative: &Path) -> PathBuf {
        self.folder().join(relative)
    }

    /// A model or data file of the experiment on this machine: a path of the file,
    /// or an `hf:` reference, fetched if need be.
    ///
    /// # Errors
    /// A reference that cannot be fetched.
    pub fn source(&self, named: &Path, progress: &dyn Progress) -> Result<PathBuf, HubError> {
        Ok(fetched(named, progress)?.unwrap_or_else(|| self.path(named)))
    }

    /// The command that makes the experiment's report, the same on every machine: the last
    /// folders of the file, and the overrides.
    #[must_use]
    pub fn command(&self) -> String {
        let parts: Vec<_> = self.file.components().rev().take(3).collect();
        let parts: PathBuf = parts.into_iter().rev().collect();
        let sets: String = self.overrides.iter().map(|set| format!(" --set '{set}'")).collect();
        format!("tokenroute run {}{sets}", parts.display())
    }

    /// Where the report lies.
    #[must_use]
    pub fn report_folder(&self) -> PathBuf {
        match &self.report.folder {
            Some(folder) => self.path(folder),
            None => self.run(chain::report::FOLDER),
        }
    }

    /// Where a stage keeps its artefacts.
    #[must_use]
    pub fn run(&self, stage: &str) -> PathBuf {
        self.folder().join("run").join(stage)
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
            let table: Table = text.parse().expect("TOML");
            if table.contains_key("pair") {
                let experiment = Experiment::load(&path, &[]).unwrap_or_else(|e| panic!("{e:#}"));
                loaded.push(experiment.title);
            }
        }
        assert!(loaded.len() >= 4, "{loaded:?}");
    }

    #[test]
    fn the_bundled_experiments_ask_in_the_bundled_format() {
        for name in ["word-problems", "quickstart"] {
            let path = experiments().join(name).join("experiment.toml");
            let experiment = Experiment::load(&path, &[]).expect("a good file");
            assert_eq!(experiment.data.prompt, tokenroute_core::PromptFormat::default(), "{name}");
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
            (
                "schema = \"commonsense-qa\"",
                "schema = \"arc\"\ncolumns = { question = \"q\", answer = \"a\" }",
                "data.columns and data.schema both",
            ),
            (
                "schema = \"commonsense-qa\"",
                "columns = { question = \"q\" }",
                "missing field `answer`",
            ),
            (
                "schema = \"commonsense-qa\"",
                "columns = { question = 3, answer = \"a\" }",
                "the name of a column, or a list of names",
            ),
            (
                "schema = \"commonsense-qa\"",
                "columns = { question = \"q\", answer = \"a\", choices = [\"x\"] }",
                "data.columns.choices has 1 names",
            ),
            (
                "schema = \"commonsense-qa\"",
                "columns = { question = \"q\", answer = \"a\", answer_is = \"letter\" }",
                "data.columns.answer_is names a choice",
            ),
            (
                "schema = \"commonsense-qa\"",
                "columns = { question = \"q\", answer = \"a\", answer_is = \"index\" }",
                "unknown variant `index`",
            ),
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
            let error = format!("{:#}", Experiment::load(&path, &[]).expect_err(cause));
            assert!(error.contains(cause) && error.contains("experiment.toml"), "{error}");
        }
    }
}
