//! Hashes of an experiment's files, remembered under its `run/`.

use std::path::Path;

use tokenroute_model::FileHashes;
use tokenroute_store::{FileHash, StoreError};

use crate::Experiment;

/// The file under `run/`.
const FILE: &str = "file-hashes.json";

/// Hashes of models, routers and a stage's outputs.
pub(super) struct Hashes(FileHashes);

impl Hashes {
    pub(super) fn of(experiment: &Experiment) -> Self {
        Hashes(FileHashes::open(&experiment.run(FILE)))
    }

    pub(super) fn sha256(&self, path: &Path) -> Result<String, StoreError> {
        let failed = |source| StoreError::Read { path: path.to_owned(), source };
        self.0.sha256(path).map_err(failed)
    }
}

impl FileHash for Hashes {
    fn sha256(&self, path: &Path) -> Result<String, StoreError> {
        Hashes::sha256(self, path)
    }
}
