//! What a round's folder records: the works of an unfinished and of a finished run, and their
//! shards with the hashes of their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokenroute_store::{self as store, Manifest, StoreError};

use crate::LabelError;

/// File beside the manifest with one [`ShardRecord`] per shard.
pub const SHARDS: &str = "shards.json";
pub(crate) const PARTIAL: &str = "partial";
const PROGRESS: &str = "progress.json";
/// [`crate::LabelConfig::states`] in a manifest.
const STATES: &str = "states";

/// The record of one finished shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// SHA-256 of the file.
    pub sha256: String,
    /// Number of questions.
    pub questions: u64,
    /// Number of rows.
    pub rows: u64,
    /// Positions that the SLM processed for it.
    pub slm_positions: u64,
    /// Positions that the LLM processed for it.
    pub llm_positions: u64,
}

pub(crate) type Records = BTreeMap<String, ShardRecord>;

/// The records of a round's finished shards. Empty if the folder has no records.
///
/// # Errors
/// A record that cannot be read.
pub fn shard_records(dir: &Path) -> Result<Vec<ShardRecord>, LabelError> {
    Ok(records_in(dir)?.into_values().collect())
}

/// The records of finished shards in a folder. Empty without the file.
pub(crate) fn records_in(dir: &Path) -> Result<Records, LabelError> {
    let path = dir.join(SHARDS);
    if store::exists(&path) { parse(&path) } else { Ok(Records::new()) }
}

/// Each finished shard's file and record, by name.
pub(crate) type FoundShards = BTreeMap<String, (PathBuf, ShardRecord)>;

/// The work of an unfinished or finished round, and its shards that are whole.
pub(crate) fn begun(dir: &Path) -> Result<Option<(Manifest, FoundShards)>, LabelError> {
    match recorded(dir)?.into_iter().next() {
        Some((work, records)) => Ok(Some((work, whole(records, dir)?))),
        None => Ok(None),
    }
}

/// `shards.json`
pub(crate) fn records_json(records: &Records) -> Result<Vec<u8>, LabelError> {
    let mut table = json(serde_json::to_vec_pretty(records))?;
    table.push(b'\n');
    Ok(table)
}

/// `partial/progress.json`
#[derive(Serialize, Deserialize)]
struct Saved {
    work: Manifest,
    shards: Records,
}

/// Records the shards that are finished in `partial`.
pub(crate) fn save_progress(
    work: &Manifest,
    records: &Records,
    partial: &Path,
) -> Result<(), LabelError> {
    let saved = Saved { work: work.clone(), shards: records.clone() };
    let bytes = json(serde_json::to_vec_pretty(&saved))?;
    Ok(store::write(&partial.join(PROGRESS), &bytes)?)
}

/// Finished shards of an earlier run of the same work, if they are whole.
///
/// # Errors
/// A file that cannot be read, and an unfinished run of work that differs in the source of the
/// hidden states alone: its shards would be lost.
pub(crate) fn resume(work: &Manifest, dir: &Path) -> Result<Records, LabelError> {
    let same = recorded(dir)?.into_iter().find(|(found, _)| found.matches(work));
    if same.is_none()
        && let Some((begun, records)) = unfinished(dir)?
    {
        let given = begun.config.get(STATES).is_some_and(|states| *states == Value::Bool(true));
        let [begun, wanted] = [&begun, work].map(|work| {
            let mut work = work.clone();
            work.config[STATES] = Value::Null;
            work
        });
        if !records.is_empty() && begun.matches(&wanted) {
            return Err(LabelError::States {
                folder: dir.join(PARTIAL),
                shards: records.len(),
                given,
            });
        }
    }
    let found = whole(same.map(|(_, records)| records).unwrap_or_default(), dir)?;
    Ok(found.into_iter().map(|(name, (_, record))| (name, record)).collect())
}

/// Names the shards of other work that this work replaces, if an unfinished run left some.
pub(crate) fn replaced(work: &Manifest, dir: &Path) -> Result<Option<String>, LabelError> {
    let Some((begun, records)) = unfinished(dir)? else { return Ok(None) };
    let Some(difference) = begun.difference(work).filter(|_| !records.is_empty()) else {
        return Ok(None);
    };
    let (shards, folder) = (records.len(), dir.join(PARTIAL));
    Ok(Some(format!(
        "{shards} finished shards in {} are of other work and are made anew: {difference}",
        folder.display()
    )))
}

/// The recorded shards whose files have the recorded hashes.
fn whole(records: Records, dir: &Path) -> Result<FoundShards, LabelError> {
    let mut found = FoundShards::new();
    for (name, record) in records {
        // A run killed at its very end has moved some shards up already.
        for home in [dir.join(PARTIAL), dir.to_owned()] {
            let path = home.join(&name);
            if store::exists(&path) && store::sha256_file(&path)? == record.sha256 {
                found.insert(name, (path, record));
                break;
            }
        }
    }
    Ok(found)
}

/// The works that a folder records, without their outputs: an unfinished one, then a finished
/// one.
fn recorded(dir: &Path) -> Result<Vec<(Manifest, Records)>, LabelError> {
    let mut found = Vec::from_iter(unfinished(dir)?);
    if let Some(mut done) = Manifest::load(dir)? {
        done.outputs.clear();
        found.push((done, records_in(dir)?));
    }
    Ok(found)
}

/// The work of a run that was not finished, and its shards.
fn unfinished(dir: &Path) -> Result<Option<(Manifest, Records)>, LabelError> {
    let path = dir.join(PARTIAL).join(PROGRESS);
    if !store::exists(&path) {
        return Ok(None);
    }
    let Saved { work, shards } = parse(&path)?;
    Ok(Some((work, shards)))
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, LabelError> {
    serde_json::from_slice(&store::read(path)?).map_err(|e| {
        let what = format!("{e}; delete it to start over");
        StoreError::Format { path: path.to_owned(), kind: "progress file", what }.into()
    })
}

pub(crate) fn json<T>(result: serde_json::Result<T>) -> Result<T, LabelError> {
    result
        .map_err(|e| StoreError::Encode { kind: "label configuration", what: e.to_string() }.into())
}
