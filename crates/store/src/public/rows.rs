//! A file's rows as JSON objects, whether it is JSON Lines or Parquet.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use polars::prelude::*;
use serde_json::{Map, Value};

use crate::StoreError;

/// Most rows of a Parquet file, and most bytes it may unpack to. The largest of
/// the known sets has 116 thousand rows.
const MOST_ROWS: usize = 10_000_000;
const MOST_BYTES: u64 = 4 << 30;
const KIND: &str = "question file";

/// Calls `row` with each row's number, counted from 1, and its fields.
pub(super) fn each(
    path: &Path,
    bytes: &[u8],
    mut row: impl FnMut(usize, Map<String, Value>) -> Result<(), String>,
) -> Result<(), StoreError> {
    if bytes.starts_with(b"PAR1") {
        let lines = parquet(bytes).map_err(|what| format_error(path, what))?;
        for (i, line) in lines.split(|&b| b == b'\n').filter(|line| !line.is_empty()).enumerate() {
            let bad = |what| StoreError::Row { path: path.to_owned(), row: i + 1, what };
            let fields = serde_json::from_slice(line).map_err(|e| bad(e.to_string()))?;
            row(i + 1, fields).map_err(bad)?;
        }
        return Ok(());
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        format_error(path, format!("it is neither Parquet nor UTF-8 (after byte {at})"))
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (i, line) in lines {
        let bad = |what| StoreError::Line { path: path.to_owned(), line: i + 1, what };
        let fields = serde_json::from_str(line)
            .map_err(|e| bad(format!("not a JSON object ({e}); expected one question a line")))?;
        row(i + 1, fields).map_err(bad)?;
    }
    Ok(())
}

/// The rows of a Parquet file as JSON Lines.
fn parquet(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let read = || {
        let mut reader = ParquetReader::new(Cursor::new(bytes));
        let metadata = reader.get_metadata()?;
        let unpacked = metadata.row_groups.iter().map(|g| g.total_byte_size() as u64);
        let unpacked = unpacked.fold(0_u64, u64::saturating_add);
        if metadata.num_rows > MOST_ROWS || unpacked > MOST_BYTES {
            let rows = metadata.num_rows;
            polars_bail!(
                ComputeError: "{rows} rows of {unpacked} bytes; expected at most {MOST_ROWS} of {MOST_BYTES}"
            );
        }
        let mut frame = reader.finish()?;
        let mut lines = Vec::new();
        JsonWriter::new(&mut lines).finish(&mut frame)?;
        Ok(lines)
    };
    // polars' reader panics on some damaged files instead of returning an error. One kind
    // ends the process all the same: definition levels whose run length is false make
    // polars-parquet 0.55 ask for exabytes at once (found by fuzzing).
    catch_unwind(AssertUnwindSafe(read))
        .map_err(|_| "the Parquet reader gave up on it; the file is damaged".to_owned())?
        .map_err(|e: PolarsError| e.to_string())
}

fn format_error(path: &Path, what: String) -> StoreError {
    StoreError::Format { path: path.to_owned(), kind: KIND, what }
}
