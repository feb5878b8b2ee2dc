//! The rows of a JSON, JSON Lines, CSV or Parquet file as JSON objects.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::{StoreError, parquet};

/// A row's values by column.
pub(crate) type Row = Map<String, Value>;

/// Most columns that an error names.
const NAMED: usize = 40;

/// What the bytes of a file do not say.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layout<'a> {
    /// Names of a CSV file's columns, if its first line may be a row.
    pub names: Option<&'a [&'a str]>,
    /// Where the list of rows is, with dots, in a JSON file that is one object.
    pub rows: Option<&'a str>,
}

/// Calls `row` with the number (from 1) and the fields of each row. The first bytes show the
/// format: Parquet, JSON (a list of objects), JSON Lines, else CSV. `kind` names the file in
/// errors.
pub(crate) fn each(
    path: &Path,
    kind: &'static str,
    bytes: &[u8],
    layout: Layout<'_>,
    mut row: impl FnMut(usize, Row) -> Result<(), String>,
) -> Result<(), StoreError> {
    if bytes.starts_with(b"PAR1") {
        let unreadable = |what| format_error(path, kind, what);
        return parquet::each_row(bytes, unreadable, |number, fields| {
            let bad = |what| StoreError::Row { path: path.to_owned(), row: number, what };
            row(number, fields).map_err(bad)
        });
    }
    // Spreadsheets put a byte order mark first.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        format_error(path, kind, format!("it is neither Parquet nor UTF-8 (after byte {at})"))
    })?;
    match (text.trim_start().chars().next(), layout.rows) {
        (None, _) => Ok(()),
        (Some('[' | '{'), Some(_)) | (Some('['), None) => {
            each_of_list(path, kind, text, layout.rows, row)
        }
        (Some('{'), None) => each_of_lines(path, text, row),
        (Some('<'), _) => {
            let what = "it is XML or HTML; expected JSON, JSON Lines, CSV or Parquet";
            Err(format_error(path, kind, what.to_owned()))
        }
        _ => each_of_csv(path, kind, text, layout.names, row),
    }
}

fn each_of_lines(
    path: &Path,
    text: &str,
    mut row: impl FnMut(usize, Row) -> Result<(), String>,
) -> Result<(), StoreError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (i, line) in lines {
        let bad = |what| StoreError::Line { path: path.to_owned(), line: i + 1, what };
        let fields = serde_json::from_str(line)
            .map_err(|e| bad(format!("not a JSON object ({e}); expected one object per line")))?;
        row(i + 1, fields).map_err(bad)?;
    }
    Ok(())
}

/// The rows of a JSON file: a list of objects, or the list that `place` names within it.
fn each_of_list(
    path: &Path,
    kind: &'static str,
    text: &str,
    place: Option<&str>,
    mut row: impl FnMut(usize, Row) -> Result<(), String>,
) -> Result<(), StoreError> {
    let wrong = |what| format_error(path, kind, what);
    let mut whole: Value =
        serde_json::from_str(text).map_err(|e| wrong(format!("it is not JSON ({e})")))?;
    for part in place.into_iter().flat_map(|place| place.split('.')) {
        let inside = whole.get_mut(part).map(Value::take);
        whole = inside.ok_or_else(|| {
            let found = shown(&whole.to_string());
            wrong(format!("it has no `{part}`, where data.columns.rows expects one: {found}"))
        })?;
    }
    let Value::Array(items) = whole else {
        let found = shown(&whole.to_string());
        return Err(wrong(format!("its rows are {found}; expected a list of objects")));
    };
    for (i, item) in items.into_iter().enumerate() {
        let bad = |what| StoreError::Row { path: path.to_owned(), row: i + 1, what };
        let Value::Object(fields) = item else {
            let found = shown(&item.to_string());
            return Err(bad(format!("not a JSON object: {found}")));
        };
        row(i + 1, fields).map_err(bad)?;
    }
    Ok(())
}

/// The rows of a CSV file. Its first line names the columns, unless `names` does and the line
/// does not repeat the first of them. Columns are separated by commas; in a first line without
/// commas by tabs or semicolons. Every value is a text.
fn each_of_csv(
    path: &Path,
    kind: &'static str,
    text: &str,
    names: Option<&[&str]>,
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
            _ => e.to_string(),
        };
        line(at, what)
    };
    let first = text.lines().next().unwrap_or_default();
    let separator = match first.contains(',') {
        false if first.contains('\t') => b'\t',
        false if first.contains(';') => b';',
        _ => b',',
    };
    let headed = names.is_none_or(|names| {
        first.split(char::from(separator)).next().is_some_and(|name| name == names[0])
    });
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .delimiter(separator)
        .has_headers(headed)
        .from_reader(text.as_bytes());
    let names = match names.filter(|_| !headed) {
        Some(names) => names.to_vec().into(),
        None => reader.headers().map_err(|e| unreadable(&e))?.clone(),
    };
    let mut seen = HashSet::new();
    for name in &names {
        if !seen.insert(name) {
            return Err(format_error(path, kind, format!("two of its columns are named {name:?}")));
        }
    }
    for record in reader.records() {
        let record = record.map_err(|e| unreadable(&e))?;
        let at = record.position().map_or(0, csv::Position::line);
        if record.len() != names.len() {
            let (found, expected) = (record.len(), names.len());
            return Err(line(at, format!("it has {found} values; expected {expected}")));
        }
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

/// The names of a row's columns for an error message.
pub(crate) fn names(row: &Row) -> String {
    let named: Vec<String> = row.keys().take(NAMED).map(|name| shown(name)).collect();
    match row.len() - named.len() {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
