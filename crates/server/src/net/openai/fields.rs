//! A request body, field by field. A field that is absent or null has its default; a field
//! of the wrong type is refused by name.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value};

use crate::net::refusal::Refusal;

/// Most characters of a value shown in a refusal.
const SHOWN: usize = 60;

/// Bytes of an item of a list or of a field while a list grows, which is there twice for a
/// moment, and of an object with one field.
const ITEM: usize = 128;
const OBJECT: usize = 640;

/// Copies of a text while it is read: the one with escapes undone, which grows, and the result.
const COPIES: usize = 4;

/// Most bytes that a JSON text takes in memory while it is read. Brackets and commas within
/// strings do not count.
pub(crate) fn parsed_bytes(body: &[u8]) -> usize {
    let (mut bytes, mut at) = (COPIES * body.len(), 0);
    while at < body.len() {
        match body[at] {
            b'"' => {
                at += 1;
                while at < body.len() && body[at] != b'"' {
                    at += if body[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' => bytes += OBJECT,
            b',' | b'[' => bytes += ITEM,
            _ => {}
        }
        at += 1;
    }
    bytes
}

/// The fields of a request.
pub(crate) struct RequestFields(Map<String, Value>);

impl RequestFields {
    /// Reads a body. Fields under `extra_body` count as fields of the request: OpenAI's
    /// Python client unpacks that object, other clients send it as it is.
    pub(crate) fn parse(body: &[u8]) -> Result<RequestFields, Refusal> {
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::body(format!("the request is not JSON: {error}")))?;
        let Value::Object(mut fields) = value else {
            let message = "the request is not a JSON object; expected one with named fields";
            return Err(Refusal::body(message.to_owned()));
        };
        if let Some(Value::Object(extra)) = fields.remove("extra_body") {
            for (name, value) in extra {
                fields.entry(name).or_insert(value);
            }
        }
        Ok(RequestFields(fields))
    }

    /// The value, unless it is absent or null.
    pub(crate) fn get(&self, name: &'static str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn typed<'f, T>(
        &'f self,
        name: &'static str,
        expected: &str,
        read: impl FnOnce(&'f Value) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match read(value) {
            Some(read) => Ok(Some(read)),
            None => Err(wrong(name, value, expected)),
        }
    }

    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        self.typed(name, "a string", Value::as_str)
    }

    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, Refusal> {
        Ok(self.typed(name, "true or false", Value::as_bool)?.unwrap_or(false))
    }

    pub(crate) fn number(&self, name: &'static str) -> Result<Option<f64>, Refusal> {
        self.typed(name, "a number", Value::as_f64)
    }

    /// A whole number of 64 bits, signed or not: a negative one counts from 2^64 down.
    pub(crate) fn bits(&self, name: &'static str) -> Result<Option<u64>, Refusal> {
        let read = |value: &Value| value.as_u64().or(value.as_i64().map(|n| n as u64));
        self.typed(name, "a whole number from -2^63 to 2^64 - 1", read)
    }

    /// A whole number from `least` to `most`; `usize::MAX` is no limit.
    pub(crate) fn count(
        &self,
        name: &'static str,
        least: usize,
        most: usize,
    ) -> Result<Option<usize>, Refusal> {
        let expected = match most {
            usize::MAX => format!("a whole number of at least {least}"),
            _ => format!("a whole number from {least} to {most}"),
        };
        let within = |n: &usize| (least..=most).contains(n);
        self.typed(name, &expected, |value| usize::try_from(value.as_u64()?).ok().filter(within))
    }

    /// One string, or a list of strings.
    pub(crate) fn texts(&self, name: &'static str) -> Result<Vec<String>, Refusal> {
        let texts = self.typed(name, "a string or a list of strings", |value| match value {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(list) => list.iter().map(|t| t.as_str().map(str::to_owned)).collect(),
            _ => None,
        })?;
        Ok(texts.unwrap_or_default())
    }

    pub(crate) fn object(
        &self,
        name: &'static str,
    ) -> Result<Option<&Map<String, Value>>, Refusal> {
        self.typed(name, "an object", Value::as_object)
    }

    /// A field of an object within the request.
    pub(crate) fn flag_within(
        &self,
        name: &'static str,
        inner: &'static str,
    ) -> Result<bool, Refusal> {
        match self.object(name)?.and_then(|object| object.get(inner)) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(wrong(inner, value, "true or false")),
        }
    }
}

/// The refusal of a field with the wrong type of value.
pub(crate) fn wrong(name: &'static str, value: &Value, expected: &str) -> Refusal {
    let mut shown = Shown { text: String::new(), left: SHOWN };
    if write!(shown, "{value}").is_err() {
        shown.text.push_str("...");
    }
    Refusal::field(name, format!("`{name}` is {}; expected {expected}", shown.text))
}

/// The first characters of a value. The rest of a long one is not written.
struct Shown {
    text: String,
    left: usize,
}

impl fmt::Write for Shown {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        for c in part.chars() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.text.push(c);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cost_their_bytes_and_objects_their_nodes() {
        for (body, items, objects) in [
            (r#"{"prompt":"a [ { , \" [ b"}"#, 0, 1),
            ("[7,7,7]", 3, 0),
            (r#"[{"":{"":0}},[]]"#, 3, 2),
            ("\"", 0, 0),
            ("\"\\", 0, 0),
        ] {
            let expected = COPIES * body.len() + items * ITEM + objects * OBJECT;
            assert_eq!(parsed_bytes(body.as_bytes()), expected, "{body}");
        }
    }
}
