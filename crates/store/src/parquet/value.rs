//! The values of a column, from their bytes and as JSON.

use serde_json::Value;

use super::allowance::Allowance;
use super::footer::{LeafColumn, Meaning, Physical};

/// A value that is not null.
#[derive(Debug, Clone)]
pub(super) enum Scalar {
    /// A date, a picture or another value that is not used.
    Other,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Single(f32),
    Double(f64),
    Text(String),
}

impl From<Scalar> for Value {
    fn from(scalar: Scalar) -> Self {
        match scalar {
            Scalar::Other => Value::Null,
            Scalar::Bool(value) => value.into(),
            Scalar::Signed(value) => value.into(),
            Scalar::Unsigned(value) => value.into(),
            Scalar::Single(value) => value.into(),
            Scalar::Double(value) => value.into(),
            Scalar::Text(value) => value.into(),
        }
    }
}

/// Reads the PLAIN value at `at` and moves `at` behind it.
pub(super) fn plain(
    leaf: &LeafColumn,
    page: &[u8],
    at: &mut usize,
    allowance: &mut Allowance,
) -> Result<Scalar, String> {
    fn word<const N: usize>(page: &[u8], at: &mut usize) -> Result<[u8; N], String> {
        let word = page.get(*at..).and_then(<[u8]>::first_chunk);
        *at += N;
        word.copied().ok_or_else(short)
    }
    let value = match leaf.physical {
        Physical::Boolean => Scalar::Bool(word::<1>(page, at)? == [1]),
        Physical::Int32 => return Ok(whole(leaf, i32::from_le_bytes(word(page, at)?).into())),
        Physical::Int64 => return Ok(whole(leaf, i64::from_le_bytes(word(page, at)?))),
        Physical::Float => Scalar::Single(f32::from_le_bytes(word(page, at)?)),
        Physical::Double => Scalar::Double(f64::from_le_bytes(word(page, at)?)),
        Physical::Bytes | Physical::Fixed(_) => {
            let length = match leaf.physical {
                Physical::Fixed(length) => length,
                _ => usize::try_from(u32::from_le_bytes(word(page, at)?)).map_err(|_| short())?,
            };
            let bytes = page.get(*at..).and_then(|rest| rest.get(..length)).ok_or_else(short)?;
            *at += length;
            return string(leaf, bytes, allowance);
        }
    };
    Ok(if leaf.meaning == Meaning::Other { Scalar::Other } else { value })
}

/// A whole number. Of a 32-bit column the lower 32 bits count.
pub(super) fn whole(leaf: &LeafColumn, value: i64) -> Scalar {
    match (leaf.physical, leaf.meaning) {
        (_, Meaning::Other) => Scalar::Other,
        (Physical::Int32, Meaning::Unsigned) => Scalar::Unsigned((value as u32).into()),
        (Physical::Int32, _) => Scalar::Signed((value as i32).into()),
        (_, Meaning::Unsigned) => Scalar::Unsigned(value.cast_unsigned()),
        _ => Scalar::Signed(value),
    }
}

/// A byte string: text, or nothing for binary data such as pictures.
pub(super) fn string(
    leaf: &LeafColumn,
    bytes: &[u8],
    allowance: &mut Allowance,
) -> Result<Scalar, String> {
    match (std::str::from_utf8(bytes), leaf.meaning) {
        (Ok(text), Meaning::Text | Meaning::Plain) => {
            allowance.spend(text.len())?;
            Ok(Scalar::Text(text.to_owned()))
        }
        (Err(_), Meaning::Text) => Err("it holds a text that is not UTF-8".into()),
        _ => Ok(Scalar::Other),
    }
}

/// Bytes of a value whose length its type states.
pub(super) fn width(leaf: &LeafColumn) -> Option<usize> {
    match leaf.physical {
        Physical::Int32 | Physical::Float => Some(4),
        Physical::Int64 | Physical::Double => Some(8),
        Physical::Fixed(length) => Some(length),
        Physical::Boolean | Physical::Bytes => None,
    }
}

fn short() -> String {
    "a page ends before its values do".to_owned()
}
