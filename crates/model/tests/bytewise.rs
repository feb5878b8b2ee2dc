//! A tokenizer byte for byte: its tokens spell any text at any split, and a first token that is
//! called certain stays the first.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokenroute_core::{Speller, stable_hash};
use tokenroute_model::{BytewiseTokenizer, Tokenizer};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/word-problems-slm/tokenizer.json")
}

/// The bundled tokenizer, changed.
fn changed(change: impl FnOnce(&mut Value)) -> Tokenizer {
    let text = std::fs::read_to_string(models()).expect("a tokenizer");
    let mut json: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut json);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokenizer.json");
    std::fs::write(&path, json.to_string()).expect("a file");
    Tokenizer::read(&path).expect("a tokenizer")
}

/// Pre-tokenizers of published models: Qwen's, GPT-2's with single digits (SmolLM2), Llama 3's,
/// and one of the contraction within the word (o200k).
fn tokenizers() -> Vec<(&'static str, BytewiseTokenizer)> {
    let split = |pattern: &'static str| {
        move |json: &mut Value| {
            json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = pattern.into()
        }
    };
    let gpt2 = |json: &mut Value| {
        json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]});
    };
    let llama3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let o200k = r"[^\r\n\p{L}\p{N}]?\p{L}+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let added = |json: &mut Value| {
        let more = json!({"id": 1338, "content": " apples and", "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": false, "special": false});
        json["added_tokens"].as_array_mut().expect("a list").push(more);
    };
    [
        ("qwen", changed(|_| {})),
        ("gpt2", changed(gpt2)),
        ("llama3", changed(split(llama3))),
        ("o200k", changed(split(o200k))),
        ("added", changed(added)),
    ]
    .into_iter()
    .map(|(name, tokenizer)| (name, tokenizer.bytewise().expect("byte for byte")))
    .collect()
}

/// Pieces that texts are made of: all that the patterns tell apart.
const PIECES: [&str; 24] = [
    "a",
    "apple",
    " apple",
    "s",
    "'",
    "'s",
    "'re",
    "'ll",
    "R",
    "1",
    "23",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    ".",
    "...",
    "-",
    "/",
    "é",
    "🍎",
    "e\u{301}",
    "<|endoftext|>",
];

fn text(seed: u64, pieces: u64) -> String {
    let draw = |i: u64| stable_hash(&[seed.to_le_bytes(), i.to_le_bytes()].concat());
    (0..pieces).map(|i| PIECES[(draw(i) % PIECES.len() as u64) as usize]).collect()
}

#[test]
fn tokens_spell_any_text_at_any_split() {
    for (name, tokenizer) in tokenizers() {
        for seed in 0..400 {
            let text = text(seed, seed % 14);
            let whole = tokenizer.spell(&text).expect("tokens");
            assert_eq!(tokenizer.bytes_of(&whole.tokens), text.as_bytes(), "{name}: {text:?}");
            for (at, _) in text.char_indices() {
                let (left, right) = text.split_at(at);
                let parts = [left, right].map(|part| tokenizer.spell(part).expect("tokens").tokens);
                assert_eq!(
                    tokenizer.bytes_of(&parts.concat()),
                    text.as_bytes(),
                    "{name}: {text:?}"
                );
            }
        }
    }
}

#[test]
fn a_certain_first_token_stays_the_first_whatever_follows() {
    for (name, tokenizer) in tokenizers() {
        let (mut certain, mut seen) = (0, 0);
        for seed in 0..600 {
            let begun = text(seed, 1 + seed % 6);
            let spelled = tokenizer.spell(&begun).expect("tokens");
            seen += 1;
            if !spelled.settled {
                continue;
            }
            certain += 1;
            for more in 0..40 {
                let longer = begun.clone() + &text(1_000_000 + seed * 40 + more, 1 + more % 5);
                let first = tokenizer.spell(&longer).expect("tokens").tokens[0];
                assert_eq!(first, spelled.tokens[0], "{name}: {begun:?} and then {longer:?}");
            }
        }
        assert!(certain * 4 > seen, "{name}: {certain} of {seen}");
    }
}

#[test]
fn special_tokens_have_no_bytes_and_their_names_are_text() {
    let tokenizer = changed(|_| {});
    let special = tokenizer.special_token_in("<|endoftext|>").expect("a special token");
    let id = tokenizer.encode(&special).expect("ids")[0];
    let bytewise = tokenizer.bytewise().expect("byte for byte");
    assert!(bytewise.bytes(id).is_empty());
    let spelled = bytewise.spell(&special).expect("tokens").tokens;
    assert!(!spelled.contains(&id) && spelled.len() > 1, "{spelled:?}");
    assert!(bytewise.bytes(u32::MAX).is_empty());
}

#[test]
fn a_tokenizer_that_changes_texts_is_refused_by_name() {
    for normalizer in [json!({"type": "Lowercase"}), json!({"type": "Prepend", "prepend": "Ġ"})] {
        let tokenizer = changed(|json| json["normalizer"] = normalizer.clone());
        let error = tokenizer.bytewise().expect_err("a refusal").to_string();
        assert!(error.contains("byte for byte") && error.contains("tokenizer.json"), "{error}");
    }
}
