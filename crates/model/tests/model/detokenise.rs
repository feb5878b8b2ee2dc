//! Streamed text comes in whole characters, without loss or repetition, for every kind of
//! decoder.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tokenroute_model::{Detokeniser, Tokenizer};

fn tokenizer(model: &Value, decoder: &Value) -> Tokenizer {
    let json = json!({
        "version": "1.0",
        "added_tokens": [
            { "id": 0, "content": "<s>", "single_word": false, "lstrip": false,
              "rstrip": false, "normalized": false, "special": true },
        ],
        "normalizer": null,
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": decoder,
        "model": model,
    });
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tokenizer.json");
    fs::write(&path, json.to_string()).expect("a write");
    Tokenizer::read(&path).expect("a good tokenizer")
}

/// A decoder like Qwen's. Every byte is a token, written as in GPT-2.
fn byte_level() -> Tokenizer {
    let mut vocabulary = serde_json::Map::new();
    vocabulary.insert("<s>".into(), 0.into());
    let printable = |b: u32| (33..=126).contains(&b) || (161..=172).contains(&b) || b >= 174;
    let mut other = 256;
    for byte in 0..256_u32 {
        let code = if printable(byte) {
            byte
        } else {
            other += 1;
            other - 1
        };
        let c = char::from_u32(code).expect("a character");
        vocabulary.insert(c.to_string(), (byte + 1).into());
    }
    tokenizer(
        &json!({ "type": "BPE", "vocab": vocabulary, "merges": [] }),
        &json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true }),
    )
}

/// A decoder like Llama 2's: words with "▁", single bytes as "<0xF0>", the first space
/// dropped.
fn byte_fallback() -> Tokenizer {
    let mut vocabulary = serde_json::Map::new();
    vocabulary.insert("<s>".into(), 0.into());
    for byte in 0..256 {
        vocabulary.insert(format!("<0x{byte:02X}>"), (byte + 1).into());
    }
    for (i, word) in ["▁", "▁Hello", "▁wor", "ld", "é"].iter().enumerate() {
        vocabulary.insert((*word).into(), (257 + i).into());
    }
    tokenizer(
        &json!({ "type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": true }),
        &json!({ "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
        ]}),
    )
}

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(|b| u32::from(b) + 1).collect()
}

/// The pieces and the rest.
fn stream(tokenizer: &Tokenizer, ids: &[u32]) -> (Vec<String>, String) {
    let mut detokeniser = Detokeniser::new(tokenizer);
    let pieces = ids.iter().map(|&id| detokeniser.push(id).expect("a known token")).collect();
    (pieces, detokeniser.finish().expect("known tokens"))
}

fn check(tokenizer: &Tokenizer, ids: &[u32], expected: &[&str], rest: &str) {
    let (pieces, left) = stream(tokenizer, ids);
    assert_eq!(pieces, expected);
    assert_eq!(left, rest);
    assert_eq!(pieces.concat() + &left, tokenizer.decode(ids).expect("known tokens"));
}

#[test]
fn characters_come_whole() {
    let tokenizer = byte_level();
    check(&tokenizer, &bytes("aé😀!"), &["a", "", "é", "", "", "", "😀", "!"], "");
    check(&tokenizer, &bytes(" a\n "), &[" ", "a", "\n", " "], "");
    // Cut inside a character: complete text is shown at once, the rest at the end.
    check(&tokenizer, &bytes("a😀")[..3], &["a", "", ""], "\u{fffd}");
    // A real replacement character waits for its neighbour.
    check(&tokenizer, &bytes("\u{fffd}a"), &["", "", "", "\u{fffd}a"], "");
    // Special tokens add no text.
    let ids = [&[0], &bytes("é")[..1], &[0], &bytes("é")[1..], &[0, 0], &bytes("b")[..]].concat();
    check(&tokenizer, &ids, &["", "", "", "é", "", "", "b"], "");
}

#[test]
fn spaces_between_words_stay() {
    let tokenizer = byte_fallback();
    let [space, hello, wor, ld, e] = [257, 258, 259, 260, 261];
    check(&tokenizer, &[hello, wor, ld, hello], &["Hello", " wor", "ld", " Hello"], "");
    check(&tokenizer, &[0, hello, 0, hello], &["", "Hello", "", " Hello"], "");
    check(&tokenizer, &[space, hello, e], &["", " Hello", "é"], "");
    let ids = [&[hello][..], &bytes("😀"), &[wor]].concat();
    check(&tokenizer, &ids, &["Hello", "", "", "", "😀", " wor"], "");
}

#[test]
fn broken_bytes_do_not_hold_up_the_rest() {
    for (tokenizer, word) in [(byte_level(), bytes("Hello")), (byte_fallback(), vec![258])] {
        let ids = [vec![0x81; 400], word].concat();
        let (pieces, rest) = stream(&tokenizer, &ids);
        assert!(pieces[..40].concat().contains('\u{fffd}'), "400 stray bytes are still waiting");
        assert!((pieces.concat() + &rest).ends_with("Hello"));
    }
}

/// Any text, split into any tokens, comes out unchanged.
#[test]
fn the_pieces_are_the_text() {
    let texts =
        ["", "Müller’s 12 €", "日本語のテキスト", "👩‍👩‍👧 family", "  two  spaces\n\n", "a\u{fffd}b"];
    let tokenizer = byte_level();
    for text in texts {
        let (pieces, rest) = stream(&tokenizer, &bytes(text));
        assert_eq!(pieces.concat() + &rest, text);
    }
}

/// A published tokenizer, if there is a copy beside the repository.
#[test]
fn a_real_tokenizer_streams_its_own_texts() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let shared = std::env::var_os("TOKENROUTE_DATA").map_or(shared, Into::into);
    let path = shared.join("qwen2-tokenizer/tokenizer.json");
    if !path.is_file() {
        eprintln!(
            "skipped: no real tokenizer; set TOKENROUTE_DATA to a folder with qwen2-tokenizer/"
        );
        return;
    }
    let tokenizer = Tokenizer::read(&path).expect("a good tokenizer");
    let text = "Müller’s 12 € — 日本語のテキスト, 𓀀𓂀 and 👩‍👩‍👧!\n\tשלום 🫠";
    let ids = tokenizer.encode(text).expect("any text");
    let (pieces, rest) = stream(&tokenizer, &ids);
    assert!(!pieces.concat().contains('\u{fffd}'));
    assert!(pieces.iter().any(String::is_empty), "no character was split over tokens");
    assert_eq!(pieces.concat() + &rest, text);
}
