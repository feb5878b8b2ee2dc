//! The rows of a JSON Lines or Parquet file as JSON objects.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{StoreError, parquet};

/// Calls `row` with the number (from 1) and the fields of each row.
pub(super) fn each(
    path: &Path,
    bytes: &[u8],
    mut row: impl FnMut(usize, Map<String, Value>) -> Result<(), String>,
) -> Result<(), StoreError> {
    if bytes.starts_with(b"PAR1") {
        let unreadable = |what| format_error(path, what);
        return parquet::each_row(bytes, unreadable, |number, fields| {
            let bad = |what| StoreError::Row { path: path.to_owned(), row: number, what };
            row(number, fields).map_err(bad)
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        format_error(path, format!("it is neither Parquet nor UTF-8 (after byte {at})"))
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (i, line) in lines {
        let bad = |what| StoreError::Line { path: path.to_owned(), line: i + 1, what };
        let fields = serde_json::from_str(line)
            .map_err(|e| bad(format!("not a JSON object ({e}); expected one question per line")))?;
        row(i + 1, fields).map_err(bad)?;
    }
    Ok(())
}

fn format_error(path: &Path, what: String) -> StoreError {
    StoreError::Format { path: path.to_owned(), kind: "question file", what }
}
