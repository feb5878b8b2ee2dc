//! The compare.toml: an experiment, and the routers that differ from its own in `[train]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokenroute_sweep::policies::{Baseline, PolicyKind};
use tokenroute_train::TrainConfig;
use toml::{Table, Value};

use crate::LabError;
use crate::experiment::{Experiment, check};

/// Keys of `[train]` that validation chooses when they are absent, and the word that takes them
/// out of what an experiment sets.
const CHOSEN_KEYS: [&str; 4] = ["architecture", "features", "l2", "dropout"];
const CHOSEN: &str = "chosen";

/// Top probabilities that a label table holds at least.
const TOP_K: usize = 8;

/// The file as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CompareFile {
    /// Title of the report.
    pub(super) title: String,
    /// The experiment.toml, relative to this file.
    pub(super) experiment: PathBuf,
    /// Policies to compare with, of those in the experiment's `sweep.baselines`. Without it all
    /// that need no training.
    baselines: Option<Vec<String>>,
    /// The routers. The others are compared with the first.
    router: Vec<Entry>,
}

/// A router as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// A router file that was made elsewhere, relative to the compare.toml.
    file: Option<PathBuf>,
    /// Keys that replace those of the experiment's `[train]`.
    #[serde(default)]
    train: Table,
}

/// A router to train or to take in.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// Its name on the page.
    pub(super) name: String,
    /// The name of its folder.
    pub(super) folder: String,
    /// Its file, if it was made elsewhere.
    pub(super) file: Option<PathBuf>,
    /// How it is trained, if it is trained here.
    pub(super) train: TrainConfig,
    /// How it differs from the experiment's router, in words.
    pub(super) changes: String,
    /// The router of which it is trained on a part of the questions, for a learning curve.
    pub(super) part_of: Option<usize>,
}

impl CompareFile {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, or a key that is unknown or of another type.
    pub(super) fn read(path: &Path) -> Result<Self, LabError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| LabError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|error| LabError::Toml {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })
    }

    /// The routers, checked; those of learning curves last.
    ///
    /// # Errors
    /// A name that occurs twice, or a key that cannot work, with the router's name.
    pub(super) fn candidates(
        &self,
        path: &Path,
        experiment: &Experiment,
    ) -> Result<Vec<Candidate>, LabError> {
        let refuse =
            |key: String, what: String| LabError::Value { path: path.to_owned(), key, what };
        if self.router.is_empty() {
            return Err(refuse("router".to_owned(), "is empty; expected [[router]]".to_owned()));
        }
        let mut whole = Vec::new();
        let mut parts = Vec::new();
        let mut folders: BTreeMap<String, &str> = BTreeMap::new();
        for (at, entry) in self.router.iter().enumerate() {
            let key = |key: &str| format!("router {:?}: {key}", entry.name);
            let folder = folder_name(&entry.name);
            if folder.is_empty() {
                return Err(refuse(key("name"), "has no letter and no digit".to_owned()));
            }
            if let Some(other) = folders.insert(folder.clone(), &entry.name) {
                let what = if other == entry.name {
                    "occurs twice; expected each name once".to_owned()
                } else {
                    format!("gives the same folder as {other:?}; expected other letters or digits")
                };
                return Err(refuse(key("name"), what));
            }
            if let Some(file) = &entry.file {
                if !entry.train.is_empty() {
                    let what = "is there beside `file`; expected one of them".to_owned();
                    return Err(refuse(key("train"), what));
                }
                let name = entry.name.clone();
                let changes = format!("the file {}", file.display());
                let file = Some(path.parent().unwrap_or(Path::new("")).join(file));
                let train = TrainConfig { seed: experiment.seed, ..TrainConfig::default() };
                whole.push(Candidate { name, folder, file, train, changes, part_of: None });
                continue;
            }
            let mut table = entry.train.clone();
            let shares = shares(&mut table).map_err(|what| refuse(key("train.share"), what))?;
            let train =
                trained(&table, experiment).map_err(|(field, what)| refuse(key(&field), what))?;
            let changes = changes(&entry.train);
            for share in shares {
                let name = format!("{}, {}% of the questions", entry.name, percent(share));
                let folder = format!("{folder}-share-{share}");
                let train = TrainConfig { share, ..train.clone() };
                let (changes, part_of) = (changes.clone(), Some(at));
                parts.push(Candidate { name, folder, file: None, train, changes, part_of });
            }
            let name = entry.name.clone();
            whole.push(Candidate { name, folder, file: None, train, changes, part_of: None });
        }
        whole.extend(parts);
        Ok(whole)
    }

    /// The policies to compare with.
    ///
    /// # Errors
    /// A name that the experiment does not sweep.
    pub(super) fn baselines(
        &self,
        path: &Path,
        experiment: &Experiment,
    ) -> Result<Vec<Baseline>, LabError> {
        let known: Vec<Baseline> =
            experiment.sweep.baselines.iter().filter_map(|b| Baseline::from_name(b)).collect();
        // A comparison has several routers.
        let known: Vec<Baseline> = known.into_iter().filter(|b| !b.needs().router).collect();
        let Some(names) = &self.baselines else {
            let free = |baseline: &Baseline| baseline.kind() == PolicyKind::TrainingFree;
            return Ok(known.into_iter().filter(free).collect());
        };
        let of = |name: &String| {
            let found = known.iter().copied().find(|baseline| baseline.name() == name);
            found.ok_or_else(|| {
                let known: Vec<&str> = known.iter().map(|baseline| baseline.name()).collect();
                LabError::Value {
                    path: path.to_owned(),
                    key: "baselines".to_owned(),
                    what: format!(
                        "has {name:?}; expected some of the experiment's sweep.baselines that decide by token: {}",
                        known.join(", ")
                    ),
                }
            })
        };
        names.iter().map(of).collect()
    }
}

/// Takes a list of shares out of a router's table. A list ends with 1, the router itself.
fn shares(table: &mut Table) -> Result<Vec<f64>, String> {
    let Some(Value::Array(list)) = table.get("share") else { return Ok(Vec::new()) };
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|i| i as f64));
    let found: Option<Vec<f64>> = list.iter().map(number).collect();
    let expected = "expected rising shares above 0 that end with 1, such as [0.1, 0.5, 1]";
    let shares = found.filter(|shares| {
        shares.first().is_some_and(|&least| least > 0.0)
            && shares.last() == Some(&1.0)
            && shares.is_sorted_by(|a, b| a < b)
    });
    let mut shares =
        shares.ok_or_else(|| format!("is {}; {expected}", Value::from(list.clone())))?;
    shares.pop();
    table.remove("share");
    Ok(shares)
}

/// The experiment's `[train]` with a router's keys in it.
fn trained(changed: &Table, experiment: &Experiment) -> Result<TrainConfig, check::Fault> {
    let fault = |what: String| Err(("train".to_owned(), format!("is refused: {what}")));
    let mut table = match Table::try_from(&experiment.train) {
        Ok(table) => table,
        Err(error) => return fault(error.to_string()),
    };
    for (key, value) in changed {
        if value.as_str() == Some(CHOSEN) && CHOSEN_KEYS.contains(&key.as_str()) {
            table.remove(key);
        } else {
            table.insert(key.clone(), value.clone());
        }
    }
    let config: TrainConfig = match Value::Table(table).try_into() {
        Ok(config) => config,
        // The parser's message has a line for the key.
        Err(error) => {
            let message = error.to_string();
            return fault(message.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    };
    check::train(&config)?;
    check::labelled(&config, &experiment.label)?;
    let most = experiment.train.top_k.max(TOP_K);
    if config.top_k > most {
        let what = format!(
            "is {}; the experiment's labels hold {most} probabilities, as its train.top_k asks",
            config.top_k
        );
        return Err(("train.top_k".to_owned(), what));
    }
    Ok(TrainConfig { seed: experiment.seed, ..config })
}

/// A router's keys on one line; those that say how often or on what it is trained are left out.
fn changes(table: &Table) -> String {
    let shown = table.iter().filter(|(key, _)| !["seeds", "share"].contains(&key.as_str()));
    let shown: Vec<String> = shown.map(|(key, value)| format!("{key} = {value}")).collect();
    if shown.is_empty() { "as in the experiment".to_owned() } else { shown.join(", ") }
}

/// Letters and digits of a name, small, with hyphens between them.
fn folder_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("-")
}

/// A share as a percentage without trailing zeros.
fn percent(share: f64) -> f64 {
    (share * 1e4).round() / 1e2
}
