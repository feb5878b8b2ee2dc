//! `--set key=value`: replaces keys of an experiment file.

use std::fmt;
use std::str::FromStr;

use toml::{Table, Value};

use super::Experiment;
use crate::LabError;

/// One `--set`, not yet compared with the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    text: String,
    keys: Vec<String>,
    raw: String,
}

impl FromStr for Override {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, raw) = text.split_once('=').ok_or("expected KEY=VALUE, as in data.test=100")?;
        let keys: Vec<String> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(
                "a part of the key is empty; expected names with dots, as in data.test".to_owned()
            );
        }
        Ok(Override { text: text.to_owned(), keys, raw: raw.trim().to_owned() })
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Override {
    /// Puts the value into the table of an experiment file. A value is TOML. If it is not TOML
    /// of the right type, it is a string, so strings need no quotes.
    ///
    /// # Errors
    /// An unknown key, or a value of another type.
    pub fn apply(&self, table: &mut Table) -> Result<(), LabError> {
        let before = fault(table);
        let text = Value::String(self.raw.clone());
        let mut candidates: Vec<Value> = self.value().into_iter().collect();
        if candidates.first() != Some(&text) {
            candidates.push(text);
        }
        let mut first = None;
        for value in candidates {
            let mut changed = table.clone();
            insert(&mut changed, &self.keys, value).map_err(|message| self.refuse(message))?;
            let now = fault(&changed);
            // The next override may set a key that the file lacks. Missing keys are reported
            // after the last override.
            let lacks = now.as_deref().is_some_and(|fault| fault.starts_with("missing field"));
            if now.is_none() || now == before || lacks {
                *table = changed;
                return Ok(());
            }
            first = first.or(now);
        }
        Err(self.refuse(first.unwrap_or_default()))
    }

    /// The value as TOML, if it parses.
    fn value(&self) -> Option<Value> {
        let line: Table = format!("value = {}", self.raw).parse().ok()?;
        // A line break in the argument could add further keys.
        (line.len() == 1).then(|| line.into_iter().next().map(|(_, value)| value)).flatten()
    }

    fn refuse(&self, message: String) -> LabError {
        LabError::Override { text: self.text.clone(), message }
    }
}

/// The reason why a table is not an experiment.
fn fault(table: &Table) -> Option<String> {
    Experiment::of_table(table.clone()).err().map(|error| error.message().to_owned())
}

fn insert(table: &mut Table, keys: &[String], value: Value) -> Result<(), String> {
    let Some((last, path)) = keys.split_last() else { return Ok(()) };
    let mut home = table;
    for key in path {
        let entry = home.entry(key.clone()).or_insert_with(|| Value::Table(Table::new()));
        home = entry.as_table_mut().ok_or_else(|| format!("{key} is a value, not a section"))?;
    }
    home.insert(last.clone(), value);
    Ok(())
}
