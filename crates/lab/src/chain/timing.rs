//! The cost of a stage, stored beside its artefacts but not in its manifest.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokenroute_store as store;

use crate::llm_usage::{LlmUsage, TextUsage};

const NAME: &str = "took.json";
/// Time between two records of a running stage. A killed run loses at most this much.
pub const PERIOD: Duration = Duration::from_secs(10);

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

/// Runs `work` and returns its result with its seconds. Meanwhile `note` is called every
/// `period` with the seconds so far.
pub fn noted<T>(period: Duration, work: impl FnOnce() -> T, note: impl Fn(f64) + Send) -> (T, f64) {
    let begun = Instant::now();
    let seconds = move || begun.elapsed().as_secs_f64();
    let result = thread::scope(|scope| {
        let (done, wait) = mpsc::channel::<()>();
        scope.spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(period) {
                note(seconds());
            }
        });
        let result = work();
        drop(done);
        result
    });
    (result, seconds())
}

/// Removes the record, because the stage starts again.
pub fn forget(folder: &Path) -> Result<()> {
    Ok(store::remove(&folder.join(NAME))?)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_stage_is_timed_while_it_runs() {
        let (notes, seen) = (Mutex::new(Vec::new()), AtomicUsize::new(0));
        let note = |seconds| {
            notes.lock().unwrap().push(seconds);
            seen.fetch_add(1, Ordering::Release);
        };
        let work = || {
            while seen.load(Ordering::Acquire) < 2 {
                thread::yield_now();
            }
        };
        let ((), seconds) = noted(Duration::from_millis(1), work, note);
        let mut notes = notes.into_inner().unwrap();
        notes.push(seconds);
        assert!(notes.is_sorted(), "{notes:?}");
    }
}
