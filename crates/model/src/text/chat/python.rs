//! Helpers of transformers' Jinja2 that minijinja lacks: Python's methods and JSON,
//! `raise_exception`, `strftime_now`.

use std::fmt::Write as _;

use chrono::NaiveDate;
use chrono::format::{Item, StrftimeItems};
use minijinja::value::{Kwargs, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize as _;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::meter;

/// Prefix of the detail of an error that a template raised itself.
pub(super) const REFUSED: &str = "refused: ";

/// Adds the helpers to an environment.
pub(super) fn install(environment: &mut Environment<'_>) {
    environment.set_unknown_method_callback(method);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, format!("{REFUSED}{message}")))
    });
    environment.add_filter("tojson", tojson);
}

/// Python's methods. `find` and `rfind` are written here, since minijinja-contrib's count
/// bytes while Python and minijinja's slices count characters.
fn method(
    state: &State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    meter::method(state, value, name, args)?;
    let at: fn(&str, &str) -> Option<usize> = match name {
        "find" => |text, part| text.find(part),
        "rfind" => |text, part| text.rfind(part),
        _ => return unknown_method_callback(state, value, name, args),
    };
    let Some(text) = value.as_str() else {
        return unknown_method_callback(state, value, name, args);
    };
    let (part,): (&str,) = from_args(args)?;
    Ok(match at(text, part) {
        Some(at) => Value::from(text[..at].chars().count()),
        None => Value::from(-1),
    })
}

/// `strftime_now` for a fixed day.
pub(super) fn strftime(date: NaiveDate) -> Value {
    Value::from_function(move |format: &str| -> Result<String, Error> {
        let bad = |what: String| Error::new(ErrorKind::InvalidOperation, what);
        if StrftimeItems::new(format).any(|item| item == Item::Error) {
            return Err(bad(format!("strftime_now does not know the format {format:?}")));
        }
        let mut text = String::new();
        let midnight = date.and_time(chrono::NaiveTime::MIN);
        write!(text, "{}", midnight.format(format))
            .map_err(|_| bad(format!("strftime_now has no value for the format {format:?}")))?;
        Ok(text)
    })
}

/// Python's `json.dumps`: ", " and ": " between items, nothing escaped for HTML.
/// Takes `indent`, `ensure_ascii` and `sort_keys`.
#[expect(clippy::needless_pass_by_value, reason = "minijinja hands keyword arguments over")]
fn tojson(state: &State<'_, '_>, value: Value, kwargs: Kwargs) -> Result<Value, Error> {
    meter::charge(state, meter::size(&value))?;
    let failed = |e: serde_json::Error| Error::new(ErrorKind::BadSerialization, e.to_string());
    let indent: Option<usize> = kwargs.get("indent")?;
    let ensure_ascii: Option<bool> = kwargs.get("ensure_ascii")?;
    let sort_keys: Option<bool> = kwargs.get("sort_keys")?;
    let _separators: Option<Value> = kwargs.get("separators")?;
    kwargs.assert_all_used()?;
    let value = if sort_keys == Some(true) {
        // serde_json's own map is sorted.
        Value::from_serialize(serde_json::to_value(&value).map_err(failed)?)
    } else {
        value
    };
    let mut bytes = Vec::new();
    match indent {
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)),
    }
    .map_err(failed)?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if ensure_ascii == Some(true) {
        text = ascii(&text);
    }
    Ok(Value::from(text))
}

/// `\uXXXX` for everything that is not ASCII, in UTF-16 as Python writes it.
fn ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            plain.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                plain.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    plain
}

/// Compact JSON with a space after commas and colons.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}
