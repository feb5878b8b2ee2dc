//! How long a stage took, kept beside its artefacts and out of its manifest.

use std::path::Path;

use anyhow::Result;
use tokenroute_store as store;

const NAME: &str = "seconds.json";

/// Seconds recorded for the stage in a folder; 0 if none are.
pub fn seconds(folder: &Path) -> f64 {
    store::read_text(&folder.join(NAME)).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0.0)
}

/// Records them.
pub fn record(folder: &Path, seconds: f64) -> Result<()> {
    Ok(store::write(&folder.join(NAME), format!("{seconds:.3}\n").as_bytes())?)
}

/// Forgets them, because the stage begins anew.
pub fn forget(folder: &Path) -> Result<()> {
    Ok(store::remove(&folder.join(NAME))?)
}
