//! Metadata values, decoded in place. Nothing is copied, so an array takes no memory beyond
//! the file's bytes.

use std::fmt;

use super::GgufError;

/// A metadata value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Any unsigned integer.
    Unsigned(u64),
    /// Any signed integer.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// An array; arrays of arrays are refused.
    Array(Array<'a>),
}

/// An array of one type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Array<'a> {
    kind: u32,
    len: usize,
    bytes: &'a [u8],
}

pub(super) const STRING: u32 = 8;
pub(super) const ARRAY: u32 = 9;

/// Bytes of a value of fixed size.
fn size(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// A reader's position in the file.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: u64, what: &str) -> Result<&'a [u8], GgufError> {
        let left = self.bytes.len() - self.at;
        match usize::try_from(count) {
            Ok(count) if count <= left => {
                let taken = &self.bytes[self.at..][..count];
                self.at += count;
                Ok(taken)
            }
            _ => Err(GgufError::Truncated {
                what: what.to_owned(),
                at: self.at,
                needed: count,
                left,
            }),
        }
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        self.take(8, what).map(little)
    }

    pub fn text(&mut self, what: &str) -> Result<&'a str, GgufError> {
        let len = self.u64(what)?;
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map_err(|error| {
            GgufError::value(what, format!("not UTF-8 ({error})"), "text in UTF-8")
        })
    }

    /// Reads a value of type `kind` and checks it whole.
    pub fn value(&mut self, kind: u32, what: &str) -> Result<Value<'a>, GgufError> {
        if kind == STRING {
            return self.text(what).map(Value::Text);
        }
        if kind == ARRAY {
            let kind = self.u32(what)?;
            let len = self.u64(what)?;
            let start = self.at;
            if kind == STRING {
                // A text takes at least the eight bytes of its length, so a false count
                // runs into the end of the file.
                for _ in 0..len {
                    self.text(what)?;
                }
            } else {
                let size = size(kind).ok_or_else(|| {
                    GgufError::value(
                        what,
                        format!("an array of type {kind}"),
                        "an array of numbers or texts",
                    )
                })?;
                self.take(len.saturating_mul(size as u64), what)?;
            }
            let bytes = &self.bytes[start..self.at];
            return Ok(Value::Array(Array { kind, len: len as usize, bytes }));
        }
        let size = size(kind).ok_or_else(|| {
            GgufError::value(what, format!("of type {kind}"), "a type from 0 to 12")
        })?;
        self.take(size as u64, what).map(|bytes| scalar(kind, bytes))
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// A value of fixed size; `bytes` has the length given by `size`.
fn scalar<'a>(kind: u32, bytes: &[u8]) -> Value<'a> {
    let value = little(bytes);
    let shift = 64 - 8 * bytes.len() as u32;
    match kind {
        1 | 3 | 5 | 11 => Value::Signed((value << shift) as i64 >> shift),
        6 => Value::Float(f64::from(f32::from_bits(value as u32))),
        12 => Value::Float(f64::from_bits(value)),
        7 => Value::Bool(value != 0),
        _ => Value::Unsigned(value),
    }
}

impl<'a> Array<'a> {
    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut cursor = Cursor { bytes: self.bytes, at: 0 };
        let kind = self.kind;
        // All elements were checked when the header was read.
        (0..self.len).map_while(move |_| cursor.value(kind, "an array's element").ok())
    }
}

impl<'a> Value<'a> {
    /// A whole number that is not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::Unsigned(value) => Some(value),
            Value::Signed(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// A number.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::Float(value) => Some(value),
            Value::Unsigned(value) => Some(value as f64),
            Value::Signed(value) => Some(value as f64),
            _ => None,
        }
    }

    /// A text.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        if let Value::Text(text) = *self { Some(text) } else { None }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unsigned(value) => write!(f, "{value}"),
            Value::Signed(value) => write!(f, "{value}"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Text(text) => write!(f, "{:?}", text.chars().take(60).collect::<String>()),
            Value::Array(array) => write!(f, "an array of {}", array.len),
        }
    }
}
