//! The loss log: one JSON object per optimizer step and line.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::PairError;
use crate::files;

/// One optimizer step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Number of steps done, this one included.
    pub step: u64,
    /// Input tokens processed so far.
    pub tokens: u64,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Mean cross-entropy over the batch's answer tokens, in nats.
    pub loss: f32,
    /// Norm of the gradient before clipping.
    pub gradient_norm: f64,
    /// Seconds of training so far.
    pub seconds: f64,
}

/// Writes a whole log.
pub fn write(path: &Path, records: &[Record]) -> Result<(), PairError> {
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, record).map_err(PairError::format(path))?;
        text.push(b'\n');
    }
    files::write(path, &text)
}

/// Reads a whole log.
pub fn read(path: &Path) -> Result<Vec<Record>, PairError> {
    let text = fs::read_to_string(path).map_err(PairError::io(path))?;
    text.lines().map(|line| serde_json::from_str(line).map_err(PairError::format(path))).collect()
}

/// Appends a step to a log.
pub fn append(file: &mut fs::File, path: &Path, record: &Record) -> Result<(), PairError> {
    let mut line = serde_json::to_vec(record).map_err(PairError::format(path))?;
    line.push(b'\n');
    file.write_all(&line).map_err(PairError::io(path))
}
