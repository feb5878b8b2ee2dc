//! The rows of a JSON Lines, CSV or Parquet file as JSON objects.

use std::path::Path;

use serde_json::{Map, Value};

use crate::{StoreError, parquet};

/// A row's values by column.
pub(crate) type Row = Map<String, Value>;

/// Calls `row` with the number (from 1) and the fields of each row of a Parquet file or of JSON
/// Lines. `kind` names the file in errors.
pub(crate) fn each(
    path: &Path,
    kind: &'static str,
    bytes: &[u8],
    mut row: impl FnMut(usize, Row) -> Result<(), String>,
) -> Result<(), StoreError> {
    if bytes.starts_with(b"PAR1") {
        let unreadable = |what| format_error(path, kind, what);
        return parquet::each_row(bytes, unreadable, |number, fields| {
            let bad = |what| StoreError::Row { path: path.to_owned(), row: number, what };
            row(number, fields).map_err(bad)
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        format_error(path, kind, format!("it is neither Parquet nor UTF-8 (after byte {at})"))
    })?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (i, line) in lines {
        let bad = |what| StoreError::Line { path: path.to_owned(), line: i + 1, what };
        let fields = serde_json::from_str(line)
            .map_err(|e| bad(format!("not a JSON object ({e}); expected one object per line")))?;
        row(i + 1, fields).map_err(bad)?;
    }
    Ok(())
}

/// As [`each`] of a CSV file whose first line names the columns. Every value is a text.
pub(crate) fn each_of_csv(
    path: &Path,
    kind: &'static str,
    bytes: &[u8],
    mut row: impl FnMut(usize, Row) -> Result<(), String>,
) -> Result<(), StoreError> {
    let line = |line: u64, what: String| {
        let line = usize::try_from(line).unwrap_or(usize::MAX);
        StoreError::Line { path: path.to_owned(), line, what }
    };
    let unreadable = |e: &csv::Error| {
        let at = e.position().map_or(1, csv::Position::line);
        let what = match e.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                format!("it has {len} values; expected {expected_len}, one for each column")
            }
            csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
            _ => e.to_string(),
        };
        line(at, what)
    };
    // Spreadsheets put a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let names = reader.headers().map_err(|e| unreadable(&e))?.clone();
    for (i, name) in names.iter().enumerate() {
        if names.iter().take(i).any(|earlier| earlier == name) {
            return Err(format_error(path, kind, format!("two of its columns are named {name:?}")));
        }
    }
    for record in reader.records() {
        let record = record.map_err(|e| unreadable(&e))?;
        let at = record.position().map_or(0, csv::Position::line);
        let pairs = names.iter().zip(&record);
        let fields = pairs.map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        row(usize::try_from(at).unwrap_or(usize::MAX), fields).map_err(|what| line(at, what))?;
    }
    Ok(())
}

fn format_error(path: &Path, kind: &'static str, what: String) -> StoreError {
    StoreError::Format { path: path.to_owned(), kind, what }
}

/// A value for an error message, cut to 80 characters.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
