//! The cost of a stage, stored beside its artefacts but not in its manifest.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokenroute_store as store;

use crate::llm_usage::{LlmUsage, TextUsage};

const NAME: &str = "took.json";

/// Time, memory and calls of a stage. Killed runs count up to their last record.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Took {
    /// Wall time.
    pub seconds: f64,
    /// Peak memory in bytes.
    pub peak_bytes: Option<u64>,
    /// Calls to an LLM on a server; `None` for one in process.
    #[serde(rename = "paid", default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<LlmUsage>,
    /// What answers took in tokens of an LLM that has its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextUsage>,
}

/// The record of the stage in a folder. Zero if it is missing.
pub fn took(folder: &Path) -> Took {
    let text = store::read_text(&folder.join(NAME));
    text.ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default()
}

/// Writes the record.
pub fn record(folder: &Path, took: Took) -> Result<()> {
    let mut json = serde_json::to_vec(&took)?;
    json.push(b'\n');
    Ok(store::write(&folder.join(NAME), &json)?)
}

/// Removes the record, because the stage starts again.
pub fn forget(folder: &Path) -> Result<()> {
    Ok(store::remove(&folder.join(NAME))?)
}
