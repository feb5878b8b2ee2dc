//! What a stage took, kept beside its artefacts and out of its manifest.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokenroute_store as store;

use crate::llm_usage::LlmUsage;

const NAME: &str = "took.json";

/// Time and memory of a stage and what it asked over a network, runs that were killed
/// included as far as they got to say.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Took {
    /// Wall time.
    pub seconds: f64,
    /// Most memory held meanwhile.
    pub peak_bytes: Option<u64>,
    /// What an LLM on a server was asked; `None` for one in process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid: Option<LlmUsage>,
}

/// What is recorded for the stage in a folder; nothing if none is.
pub fn took(folder: &Path) -> Took {
    let text = store::read_text(&folder.join(NAME));
    text.ok().and_then(|t| serde_json::from_str(&t).ok()).unwrap_or_default()
}

/// Records it.
pub fn record(folder: &Path, took: Took) -> Result<()> {
    let mut json = serde_json::to_vec(&took)?;
    json.push(b'\n');
    Ok(store::write(&folder.join(NAME), &json)?)
}

/// Forgets it, because the stage begins anew.
pub fn forget(folder: &Path) -> Result<()> {
    Ok(store::remove(&folder.join(NAME))?)
}
