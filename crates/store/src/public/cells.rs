//! Reads cells of a row by the names of their columns: texts, numbers, choices.

use serde_json::{Map, Value};

use super::columns::Names;
use super::schema::choices_of;
use crate::rows::{names, shown};

type Row = Map<String, Value>;

/// The value of a column, or of a field within one.
pub(super) fn cell<'r>(row: &'r Row, name: &str) -> Result<&'r Value, String> {
    if let Some(value) = row.get(name) {
        return Ok(value);
    }
    let mut parts = name.split('.');
    let first = parts.next().and_then(|part| row.get(part));
    first
        .and_then(|value| parts.try_fold(value, |value, part| value.get(part)))
        .ok_or_else(|| format!("`{name}` is missing; the row has {}", names(row)))
}

/// A text, number or truth value as text.
pub(super) fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// A whole number, also as text and as pandas writes a column with gaps: 2.0.
pub(super) fn number(value: &Value) -> Option<usize> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return None,
    };
    text.strip_suffix(".0").unwrap_or(&text).parse().ok()
}

pub(super) fn text(row: &Row, name: &str) -> Result<String, String> {
    let value = cell(row, name)?;
    let text = written(value).filter(|text| !text.trim().is_empty());
    text.ok_or_else(|| {
        format!("`{name}` is {}; expected a text that is not empty", shown(&value.to_string()))
    })
}

/// A text that may be missing. A list of texts is joined by spaces.
pub(super) fn optional(row: &Row, name: &str) -> Result<Option<String>, String> {
    let value = cell(row, name)?;
    let found = match value {
        Value::Null => Some(String::new()),
        Value::Array(items) => {
            let texts: Option<Vec<String>> = items.iter().map(written).collect();
            texts.map(|texts| texts.join(" "))
        }
        value => written(value),
    };
    let text = found.ok_or_else(|| {
        format!("`{name}` is {}; expected a text or a list of texts", shown(&value.to_string()))
    })?;
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// Labels, if the choices have any, and texts of the choices.
pub(super) fn choices(row: &Row, names: &Names) -> Result<(Vec<String>, Vec<String>), String> {
    let names = match names {
        Names::One(name) => {
            let value = cell(row, name)?;
            // A cell of a CSV file may hold a list as JSON.
            let inside = value.as_str().map(str::trim).filter(|text| text.starts_with(['[', '{']));
            let parsed: Option<Value> = inside.and_then(|text| serde_json::from_str(text).ok());
            return choices_of(name, Some(parsed.as_ref().unwrap_or(value)));
        }
        Names::Several(names) => names,
    };
    let mut texts = Vec::with_capacity(names.len());
    let mut empty: Option<&str> = None;
    for name in names {
        let value = cell(row, name)?;
        let text = written(value).unwrap_or_default();
        match (text.trim().is_empty(), empty) {
            (true, _) if matches!(value, Value::Null | Value::String(_)) => {
                empty = empty.or(Some(name));
            }
            (true, _) => {
                let found = shown(&value.to_string());
                return Err(format!("`{name}` is {found}; expected the text of a choice"));
            }
            (false, Some(gap)) => {
                return Err(format!(
                    "`{gap}` is empty, but `{name}` is {}; expected empty choices at the end only",
                    shown(&value.to_string())
                ));
            }
            (false, None) => texts.push(text.trim().to_owned()),
        }
    }
    if texts.len() < 2 {
        let names = names.join("`, `");
        return Err(format!("`{names}` hold {} choices; expected at least 2", texts.len()));
    }
    Ok((Vec::new(), texts))
}
