//! Reads fields of a JSON file one by one, so that each error names its field.

use std::path::Path;

use serde_json::{Map, Value};

use crate::LoadError;

/// Size limit of a JSON file in bytes. Tokenizers reach some 30 MB.
const LARGEST: u64 = 256 << 20;

/// An object of a JSON file.
pub(crate) struct Fields<'a> {
    path: &'a Path,
    /// Name of the object with a dot at its end; empty for the file itself.
    prefix: String,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    /// The file's object.
    pub(crate) fn new(path: &'a Path, json: &'a Value) -> Result<Self, LoadError> {
        let map = json.as_object().ok_or_else(|| LoadError::Json {
            path: path.to_owned(),
            message: "expected a JSON object".to_owned(),
        })?;
        Ok(Fields { path, prefix: String::new(), map })
    }

    /// The object in a field, if the field is present and not null.
    pub(crate) fn object(&self, field: &str) -> Result<Option<Fields<'a>>, LoadError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let map = value.as_object();
        let map = map.ok_or_else(|| self.bad(field, value, "an object or null".to_owned()))?;
        Ok(Some(Fields { path: self.path, prefix: format!("{}{field}.", self.prefix), map }))
    }

    /// The value of a field, if it is present and not null.
    pub(crate) fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    /// Whether the field is present and null.
    pub(crate) fn is_null(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(Value::is_null)
    }

    /// All fields.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.map.iter().map(|(field, value)| (field.as_str(), value))
    }

    /// A whole number that must be present.
    pub(crate) fn count(&self, field: &str) -> Result<usize, LoadError> {
        self.optional_count(field)?.ok_or_else(|| self.missing(field))
    }

    /// A whole number, if the field is present and not null.
    pub(crate) fn optional_count(&self, field: &str) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let count = value.as_u64().and_then(|n| usize::try_from(n).ok());
        count.map(Some).ok_or_else(|| self.bad(field, value, "a whole number".to_owned()))
    }

    /// A number, if the field is present and not null.
    pub(crate) fn number(&self, field: &str) -> Result<Option<f64>, LoadError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.bad(field, value, "a number".to_owned()))
    }

    /// A positive number that must be present.
    pub(crate) fn positive(&self, field: &str) -> Result<f64, LoadError> {
        let number = self.number(field)?.ok_or_else(|| self.missing(field))?;
        if number.is_finite() && number > 0.0 {
            return Ok(number);
        }
        Err(self.bad(field, &Value::from(number), "a positive number".to_owned()))
    }

    /// A truth value, if the field is present and not null.
    pub(crate) fn flag(&self, field: &str) -> Result<Option<bool>, LoadError> {
        let Some(value) = self.get(field) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.bad(field, value, "true or false".to_owned()))
    }

    /// Checks that each field is absent, null or one of the values listed with it.
    pub(crate) fn only(&self, fields: &[(&str, &[&str])]) -> Result<(), LoadError> {
        for &(field, allowed) in fields {
            if let Some(value) = self.get(field)
                && !allowed.contains(&value.to_string().as_str())
            {
                let expected = allowed.first().unwrap_or(&"no such field");
                return Err(self.bad(
                    field,
                    value,
                    format!("{expected}, the only value implemented"),
                ));
            }
        }
        Ok(())
    }

    /// The error for a missing field.
    pub(crate) fn missing(&self, field: &str) -> LoadError {
        self.bad(field, &Value::Null, "a value".to_owned())
    }

    /// The error for a value.
    pub(crate) fn bad(&self, field: &str, value: &Value, expected: String) -> LoadError {
        let mut value = value.to_string();
        if value.len() > 200 {
            value = value.chars().take(200).chain("…".chars()).collect();
        }
        let field = format!("{}{field}", self.prefix);
        LoadError::Config { path: self.path.to_owned(), field, value, expected }
    }
}

/// Reads a JSON file of at most [`LARGEST`] bytes.
pub(crate) fn read_json(path: &Path, expected: &'static str) -> Result<Value, LoadError> {
    let unread = |source| LoadError::Read { path: path.to_owned(), expected, source };
    let bad = |message| LoadError::Json { path: path.to_owned(), message };
    let size = std::fs::metadata(path).map_err(unread)?.len();
    if size > LARGEST {
        return Err(bad(format!("{size} bytes; expected {expected} of at most {LARGEST}")));
    }
    let bytes = std::fs::read(path).map_err(unread)?;
    serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))
}
