//! The parts of a tokenizer that the models of a pair must share, and their hashes over a canonical
//! form. A `tokenizer.json` and the lists of a GGUF file have the same form.

use std::io::Write;

use serde_json::Value;

use crate::hash::sha256;
use crate::weights::gguf::BpeLists;

/// The parts, in order of comparison.
pub(super) const PARTS: [&str; 4] = ["vocabularies", "merges", "added tokens", "pre-tokenizers"];

/// Hashes of [`PARTS`] of a `tokenizer.json`.
pub(super) fn of_json(json: &Value) -> [String; 4] {
    let null = Value::Null;
    let model = json.get("model").unwrap_or(&null);
    [
        part(model, "vocab", canonical),
        part(model, "merges", canonical_merges),
        part(json, "added_tokens", canonical),
        part(json, "pre_tokenizer", canonical),
    ]
}

/// Hashes of [`PARTS`] of a file's lists: those of the `tokenizer.json` that they make.
pub(super) fn of_lists(lists: &BpeLists<'_>) -> [String; 4] {
    // Most tokens are short.
    const ENTRY: usize = 24;
    let mut text = Vec::with_capacity(ENTRY * lists.vocabulary.len().max(lists.merges.len()));
    text.push(b'{');
    for (token, id) in &lists.vocabulary {
        quoted(token, &mut text);
        // A vector takes every byte.
        let _ = write!(text, ":{id},");
    }
    text.push(b'}');
    let vocabulary = sha256(&text);
    text.clear();
    text.push(b'[');
    for &(left, right) in &lists.merges {
        canonical_merge(left, right, &mut text);
    }
    text.push(b']');
    let rest = &lists.rest;
    [
        vocabulary,
        sha256(&text),
        part(rest, "added_tokens", canonical),
        part(rest, "pre_tokenizer", canonical),
    ]
}

fn part(object: &Value, key: &str, write: fn(&Value, &mut Vec<u8>)) -> String {
    let mut text = Vec::new();
    write(object.get(key).unwrap_or(&Value::Null), &mut text);
    sha256(text)
}

/// [`canonical`] of merges, which older versions write "a b" and newer ones ["a", "b"].
fn canonical_merges(merges: &Value, out: &mut Vec<u8>) {
    let Value::Array(list) = merges else { return canonical(merges, out) };
    out.push(b'[');
    for merge in list {
        match merge.as_str().and_then(|text| text.split_once(' ')) {
            Some((left, right)) => canonical_merge(left, right, out),
            None => {
                canonical(merge, out);
                out.push(b',');
            }
        }
    }
    out.push(b']');
}

/// Writes a merge and a comma.
fn canonical_merge(left: &str, right: &str, out: &mut Vec<u8>) {
    out.push(b'[');
    for side in [left, right] {
        quoted(side, out);
        out.push(b',');
    }
    out.extend(b"],");
}

/// Writes JSON without spaces and with sorted keys, for any map type of serde_json.
fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|entry| entry.0);
            out.push(b'{');
            for (key, value) in entries {
                quoted(key, out);
                out.push(b':');
                canonical(value, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        Value::Array(list) => {
            out.push(b'[');
            for value in list {
                canonical(value, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::String(text) => quoted(text, out),
        other => out.extend(other.to_string().as_bytes()),
    }
}

/// Writes a text as JSON does.
fn quoted(text: &str, out: &mut Vec<u8>) {
    // A vector takes every byte.
    let _ = serde_json::to_writer(out, text);
}
