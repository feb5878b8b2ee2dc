//! Manifests: the inputs, configuration and outputs of a stage. They hold no time and no
//! paths of a machine, so that equal work gives equal bytes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{FileHash, StoreError, atomic, hash};

/// The record of one stage, saved as `manifest.json` beside its outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the stage.
    pub stage: String,
    /// Hash of each input, by name.
    pub inputs: BTreeMap<String, String>,
    /// The stage's configuration.
    pub config: Value,
    /// Seed of all its random choices.
    pub seed: u64,
    /// Version of each program or library, by name.
    pub versions: BTreeMap<String, String>,
    /// SHA-256 of each output, by file name. Empty before the work.
    pub outputs: BTreeMap<String, String>,
}

impl Manifest {
    /// Name of the file.
    pub const NAME: &'static str = "manifest.json";

    /// The manifest of a stage before it runs: with this workspace's version, without
    /// inputs and outputs.
    #[must_use]
    pub fn new(stage: &str, config: Value, seed: u64) -> Self {
        let versions =
            BTreeMap::from([("tokenroute".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
        Manifest {
            stage: stage.to_owned(),
            inputs: BTreeMap::new(),
            config,
            seed,
            versions,
            outputs: BTreeMap::new(),
        }
    }

    /// Adds an input's hash.
    #[must_use]
    pub fn with_input(mut self, name: &str, hash: &str) -> Self {
        self.inputs.insert(name.to_owned(), hash.to_owned());
        self
    }

    /// Adds an output's hash: the file `name` that the stage wrote into `dir`.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn add_output(&mut self, dir: &Path, name: &str) -> Result<(), StoreError> {
        self.outputs.insert(name.to_owned(), hash::sha256_file(&dir.join(name))?);
        Ok(())
    }

    /// One hash over the outputs' names and hashes. It identifies the artefact as an input
    /// of the next stage.
    #[must_use]
    pub fn outputs_hash(&self) -> String {
        let lines: String = self.outputs.iter().map(|(n, h)| format!("{h}  {n}\n")).collect();
        hash::sha256(lines.as_bytes())
    }

    /// The manifest as indented JSON with a final line break.
    ///
    /// # Errors
    /// A configuration that JSON cannot represent.
    pub fn to_json(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|e| StoreError::Encode { kind: "manifest", what: e.to_string() })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Writes `manifest.json` into `dir`. Call it after all outputs are written.
    ///
    /// # Errors
    /// A write that fails.
    pub fn save(&self, dir: &Path) -> Result<(), StoreError> {
        atomic::write(&dir.join(Self::NAME), &self.to_json()?)
    }

    /// The manifest in `dir`, if there is one.
    ///
    /// # Errors
    /// A file that cannot be read or is not a manifest.
    pub fn load(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join(Self::NAME);
        if !atomic::exists(&path) {
            return Ok(None);
        }
        serde_json::from_slice(&atomic::read(&path)?).map(Some).map_err(|e| StoreError::Format {
            path,
            kind: "manifest",
            what: format!("{e}; delete it to run the stage again"),
        })
    }

    /// Whether both describe the same work: everything but the outputs is equal.
    #[must_use]
    pub fn matches(&self, other: &Manifest) -> bool {
        self.stage == other.stage
            && self.inputs == other.inputs
            && self.config == other.config
            && self.seed == other.seed
            && self.versions == other.versions
    }

    /// The first difference to other work, in words; `None` if both describe the same.
    #[must_use]
    pub fn difference(&self, expected: &Manifest) -> Option<String> {
        let differ = |what: String, found: String, expected: String| {
            (found != expected).then(|| format!("{what} is {found}; expected {expected}"))
        };
        let stage = differ("the stage".into(), self.stage.clone(), expected.stage.clone());
        let seed = differ("the seed".into(), self.seed.to_string(), expected.seed.to_string());
        let named = |kind: &str, found: &BTreeMap<String, String>, others: &BTreeMap<_, String>| {
            let missing = || "missing".to_owned();
            found.keys().chain(others.keys()).find_map(|name| {
                let [found, other] = [found, others].map(|of| of.get(name).cloned());
                let [found, other] = [found, other].map(|of| of.unwrap_or_else(missing));
                differ(format!("{kind} `{name}`"), found, other)
            })
        };
        let settings = |config: &Value| -> BTreeMap<String, String> {
            let fields = config.as_object().into_iter().flatten();
            fields.map(|(name, value)| (name.clone(), value.to_string())).collect()
        };
        stage
            .or_else(|| named("the input", &self.inputs, &expected.inputs))
            .or_else(|| named("the setting", &settings(&self.config), &settings(&expected.config)))
            .or(seed)
            .or_else(|| named("the version of", &self.versions, &expected.versions))
            .or_else(|| (!self.matches(expected)).then(|| "its configuration".to_owned()))
    }

    /// Whether every output is in `dir` with the recorded hash.
    ///
    /// # Errors
    /// A file that exists but cannot be read.
    pub fn is_whole(&self, dir: &Path, hashes: &dyn FileHash) -> Result<bool, StoreError> {
        for name in self.outputs.keys() {
            if !self.holds(dir, name, hashes)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether this output is recorded and in `dir` with the recorded hash.
    ///
    /// # Errors
    /// A file that exists but cannot be read.
    pub fn holds(&self, dir: &Path, name: &str, hashes: &dyn FileHash) -> Result<bool, StoreError> {
        let path = dir.join(name);
        Ok(match self.outputs.get(name) {
            Some(expected) => atomic::exists(&path) && hashes.sha256(&path)? == *expected,
            None => false,
        })
    }

    /// The manifest in `dir`, if it describes the same work and its outputs are unchanged.
    /// The stage may then be skipped.
    ///
    /// # Errors
    /// A manifest or output that cannot be read.
    pub fn finished(&self, dir: &Path, hashes: &dyn FileHash) -> Result<Option<Self>, StoreError> {
        match Self::load(dir)? {
            Some(found) if found.matches(self) && found.is_whole(dir, hashes)? => Ok(Some(found)),
            _ => Ok(None),
        }
    }
}
