//! How much longer a tokenizer's own steps may make a text. A damaged `tokenizer.json` may double
//! it in each of many steps.

use serde_json::{Map, Value};

/// Most bytes that the steps of a part may make of one. SentencePiece's make three of a space.
const MOST: usize = 256;

/// Refuses a tokenizer with a part that makes too much of a text.
///
/// # Errors
/// The part and the bytes that it makes.
pub(super) fn check(tokenizer: &Value) -> Result<(), String> {
    for part in ["normalizer", "pre_tokenizer", "decoder"] {
        let bytes = growth(&tokenizer[part]);
        if bytes > MOST {
            return Err(format!(
                "its {part} may make {bytes} bytes of one; expected at most {MOST}"
            ));
        }
    }
    Ok(())
}

/// Bytes that a part makes of one at most, with all parts within it. Saturates.
fn growth(part: &Value) -> usize {
    let product = |all: &mut dyn Iterator<Item = &Value>| {
        all.map(growth).fold(1, |product: usize, bytes| product.saturating_mul(bytes))
    };
    match part {
        Value::Object(fields) => {
            replacement(fields).unwrap_or_else(|| product(&mut fields.values()))
        }
        Value::Array(parts) => product(&mut parts.iter()),
        _ => 1,
    }
}

/// Bytes that a replacement makes of one at most. `None` for any other step.
fn replacement(fields: &Map<String, Value>) -> Option<usize> {
    let content = fields.get("content")?.as_str()?.len();
    Some(match fields.get("pattern")?.get("String").and_then(Value::as_str) {
        Some(text) if !text.is_empty() => content.div_ceil(text.len()).max(1),
        // An expression may match nothing, before every character.
        _ => content + 1,
    })
}
