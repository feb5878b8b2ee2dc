//! Encoding compared with transformers (tests/tokenizer/make.py writes the cases), and special
//! tokens that a text spells out.

use serde::Deserialize;
use serde_json::{Value, json};
use tokenroute_core::{Breaks, Vocabulary};
use tokenroute_model::{Detokeniser, Tokenizer};

const TOKENIZER: &str = include_str!("../tokenizer/tokenizer.json");
const CASES: &str = include_str!("../tokenizer/cases.json");

#[derive(Deserialize)]
struct Case {
    text: String,
    plain: Vec<u32>,
    prompt: Vec<u32>,
}

fn tokenizer(json: &str) -> Tokenizer {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tokenizer.json");
    std::fs::write(&path, json).expect("a write");
    Tokenizer::read(&path).expect("a tokenizer")
}

fn check(tokenizer: &Tokenizer) {
    let cases: Vec<Case> = serde_json::from_str(CASES).expect("cases");
    assert!(!cases.is_empty());
    for Case { text, plain, prompt } in cases {
        assert_eq!(tokenizer.encode(&text).expect("ids"), plain, "{text:?}");
        assert_eq!(tokenizer.encode_prompt(&text).expect("ids"), prompt, "{text:?}");
    }
}

#[test]
fn ids_are_those_of_transformers_with_every_optional_section_set() {
    check(&tokenizer(TOKENIZER));
}

#[test]
fn truncation_and_padding_of_a_file_change_no_ids() {
    let spoilt = |section: &str, value: Value| {
        let mut json: Value = serde_json::from_str(TOKENIZER).expect("JSON");
        json["truncation"] = Value::Null;
        json["padding"] = Value::Null;
        json[section] = value;
        tokenizer(&json.to_string())
    };
    for max_length in [0, 1, 3] {
        let section = json!({"direction": "Left", "max_length": max_length,
            "strategy": "OnlyFirst", "stride": 0});
        check(&spoilt("truncation", section));
    }
    for strategy in [json!("BatchLongest"), json!({"Fixed": 12}), json!({"Fixed": 2_000_000_000})] {
        let section = json!({"strategy": strategy, "direction": "Left",
            "pad_to_multiple_of": 64, "pad_id": 264, "pad_type_id": 0, "pad_token": "<pad>"});
        check(&spoilt("padding", section));
    }
}

#[test]
fn a_vocabulary_has_the_breaks_of_the_tokens_texts() {
    let mut json: Value = serde_json::from_str(TOKENIZER).expect("JSON");
    // A text of several bytes a character, parts of such, and tokens that spell no bytes.
    let tokens =
        ["yes.Ċ", "ĊĊ", "aĊĊb", "no!", "Ċb", "æĹ¥.", "æĹ", "日\n\n", "?\u{ad}", "a b?", "\n"];
    for (token, id) in tokens.iter().zip(262..) {
        json["model"]["vocab"][token] = json!(id);
    }
    let tokens = [json!("ByteLevel"), json!("Fuse")].map(|decoder| {
        json["decoder"]["type"] = decoder;
        tokenizer(&json.to_string())
    });
    for tokenizer in tokens {
        let texts = tokenizer.token_texts().expect("texts");
        let breaks = texts.iter().map(|text| Breaks::of(text)).collect();
        let expected = Vocabulary::new(vec![3], breaks, tokenizer.pair_hash());
        assert_eq!(tokenizer.vocabulary(&[3]).expect("a vocabulary"), expected);
    }
}

#[test]
fn special_tokens_in_a_text_are_found_by_name() {
    let tokenizer = tokenizer(TOKENIZER);
    for (text, found) in [
        ("", None),
        ("an answer", None),
        ("<en d>", None),
        // Added but not special.
        ("some words", None),
        ("a<end>b", Some("<end>")),
        ("<mask>", Some("<mask>")),
        ("one <pad> and <end>", Some("<pad>")),
    ] {
        assert_eq!(tokenizer.special_token_in(text).as_deref(), found, "{text:?}");
    }
}

#[test]
fn a_tokenizer_that_cannot_be_used_is_refused_at_once() {
    let path = std::path::Path::new("tokenizer.json");
    let refused = |change: &dyn Fn(&mut Value), words: &[&str]| {
        let mut json: Value = serde_json::from_str(TOKENIZER).expect("JSON");
        change(&mut json);
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(path);
        std::fs::write(&path, json.to_string()).expect("a write");
        let start = std::time::Instant::now();
        let error = Tokenizer::read(&path).expect_err("refused").to_string();
        assert!(start.elapsed().as_secs_f64() < 1.0, "{:?}", start.elapsed());
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    for id in [4_194_304_u64, 100_000_000, 4_294_967_294] {
        let change = |json: &mut Value| json["model"]["vocab"]["far"] = json!(id);
        refused(&change, &["tokenizer.json", "far", &id.to_string(), "expected ids below"]);
    }
    // A prefix that is longer than the second part of a merge makes the library panic.
    let change = |json: &mut Value| {
        json["model"]["continuing_subword_prefix"] = json!("a prefix of many letters");
    };
    refused(&change, &["tokenizer.json", "contradict one another"]);
    // Each step doubles the text.
    let doubles = |pattern: Value| json!({"type": "Replace", "pattern": pattern, "content": "aa"});
    for pattern in [json!({"String": "a"}), json!({"Regex": "a"})] {
        let steps = json!(vec![doubles(pattern); 12]);
        let normalizer = json!({"type": "Sequence", "normalizers": steps});
        let change = |json: &mut Value| json["normalizer"] = normalizer.clone();
        refused(
            &change,
            &["tokenizer.json", "normalizer may make", "of one; expected at most 256"],
        );
        let decoder = json!({"type": "Sequence", "decoders": steps});
        let change = |json: &mut Value| json["decoder"] = decoder.clone();
        refused(&change, &["tokenizer.json", "decoder may make"]);
    }
    // A text for each piece, and tokens for each.
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let end = json!({"SpecialToken": {"id": "<end>", "type_id": 0}});
    for (piece, pieces, ids) in [(&text, 300, 1), (&end, 20, 20)] {
        let change = |json: &mut Value| {
            json["post_processor"] = json!({"type": "TemplateProcessing", "pair": [],
                "single": vec![piece; pieces], "special_tokens": {
                    "<end>": {"id": "<end>", "ids": vec![0; ids], "tokens": vec!["<end>"; ids]}}});
        };
        refused(&change, &["tokenizer.json", "post_processor may add", "at most 256"]);
    }
}

#[test]
fn a_decoder_that_fails_on_a_token_is_an_error() {
    let mut json: Value = serde_json::from_str(TOKENIZER).expect("JSON");
    // The library cuts the one character from both sides, and panics.
    json["decoder"] = json!({"type": "Strip", "content": "a", "start": 1, "stop": 2});
    let tokenizer = tokenizer(&json.to_string());
    let a = tokenizer.encode("a").expect("ids");
    let errors = [
        tokenizer.decode(&a).expect_err("a panic"),
        tokenizer.token_text(a[0]).expect_err("a panic"),
        tokenizer.token_texts().expect_err("a panic"),
        tokenizer.vocabulary(&[]).expect_err("a panic"),
        Detokeniser::new(&tokenizer).push(a[0]).expect_err("a panic"),
    ];
    for error in errors.map(|error| error.to_string()) {
        assert!(error.contains("tokenizer.json") && error.contains("contradict"), "{error}");
    }
}
