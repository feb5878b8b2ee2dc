//! How much longer a tokenizer's own steps may make a text. A damaged `tokenizer.json` may double
//! it in each of many steps, or repeat it in a template.

use serde_json::{Map, Value};

/// Most bytes that the steps of a part may make of one, and most tokens that a template may add.
/// SentencePiece's steps make three bytes of a space, and BERT's templates have eight pieces.
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
    let (pieces, ids) = template(&tokenizer["post_processor"]);
    let tokens = pieces.saturating_mul(ids.max(1));
    match tokens > MOST {
        true => Err(format!(
            "its post_processor may add {tokens} tokens, or a text as often; expected at most {MOST}"
        )),
        false => Ok(()),
    }
}

/// Number of pieces in the templates of a part, and of the ids of its longest piece.
fn template(part: &Value) -> (usize, usize) {
    let (mut pieces, mut ids) = (0, 0);
    let mut add = |within: &Value| {
        let (more, longest) = template(within);
        (pieces, ids) = (pieces + more, ids.max(longest));
    };
    match part {
        Value::Object(fields) => {
            fields.values().for_each(&mut add);
            pieces +=
                usize::from(["Sequence", "SpecialToken"].iter().any(|k| fields.contains_key(*k)));
            ids = ids.max(fields.get("ids").and_then(Value::as_array).map_or(0, Vec::len));
        }
        Value::Array(parts) => parts.iter().for_each(add),
        _ => {}
    }
    (pieces, ids)
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
