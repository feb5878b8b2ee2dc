//! Names in experiment files for types behind a trait: `{ kind = "…", … }`.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// A kind, and how its settings become a value.
pub struct Kind<T: ?Sized> {
    /// Its name.
    pub name: &'static str,
    /// Reads its settings, all keys but `kind`.
    pub parse: fn(Value) -> Result<Box<T>, serde_json::Error>,
    /// The schema of its settings.
    #[cfg(feature = "schema")]
    pub schema: fn(&mut schemars::SchemaGenerator) -> schemars::Schema,
}

/// A type whose settings are described where schemas are built.
#[cfg(feature = "schema")]
pub trait Settings: DeserializeOwned + schemars::JsonSchema {}
#[cfg(feature = "schema")]
impl<T: DeserializeOwned + schemars::JsonSchema> Settings for T {}
/// A type whose settings are read from a file.
#[cfg(not(feature = "schema"))]
pub trait Settings: DeserializeOwned {}
#[cfg(not(feature = "schema"))]
impl<T: DeserializeOwned> Settings for T {}

impl<T: ?Sized> Clone for Kind<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Kind<T> {}

impl<T: ?Sized> Kind<T> {
    /// A kind whose settings are the fields of `S`. `parse` puts it into a box.
    #[must_use]
    pub const fn of<S: Settings>(
        name: &'static str,
        parse: fn(Value) -> Result<Box<T>, serde_json::Error>,
    ) -> Self {
        Kind {
            name,
            parse,
            #[cfg(feature = "schema")]
            schema: S::json_schema,
        }
    }
}

impl<T: ?Sized> Kind<T> {
    /// A kind of another program. No schema describes its settings.
    #[must_use]
    pub const fn own(
        name: &'static str,
        parse: fn(Value) -> Result<Box<T>, serde_json::Error>,
    ) -> Self {
        Kind {
            name,
            parse,
            #[cfg(feature = "schema")]
            schema: |_| schemars::json_schema!({ "type": "object" }),
        }
    }
}

/// Finds the kind of a table and reads its settings.
///
/// # Errors
/// The key and what is wrong with it.
pub fn read<T: ?Sized>(
    kinds: &[Kind<T>],
    table: &Map<String, Value>,
) -> Result<Box<T>, (String, String)> {
    let names = || kinds.iter().map(|k| format!("`{}`", k.name)).collect::<Vec<_>>().join(", ");
    let named = table.get("kind").and_then(Value::as_str);
    let Some(name) = named else {
        return Err(("without `kind`".to_owned(), format!("expected one of {}", names())));
    };
    let Some(kind) = kinds.iter().find(|kind| kind.name == name) else {
        return Err((format!("`{name}`"), format!("expected one of {}", names())));
    };
    let mut settings = table.clone();
    settings.remove("kind");
    (kind.parse)(settings.into()).map_err(|error| (format!("`{name}`"), error.to_string()))
}

/// The schema of all kinds.
#[must_use]
#[cfg(feature = "schema")]
pub fn schema<T: ?Sized>(
    kinds: &[Kind<T>],
    generator: &mut schemars::SchemaGenerator,
) -> schemars::Schema {
    let mut all = Vec::new();
    for kind in kinds {
        let mut value = (kind.schema)(generator).to_value();
        value["properties"]["kind"] = serde_json::json!({"type": "string", "const": kind.name});
        let mut required = value["required"].as_array().cloned().unwrap_or_default();
        required.push("kind".into());
        value["required"] = required.into();
        all.push(value);
    }
    schemars::json_schema!({ "oneOf": all })
}
