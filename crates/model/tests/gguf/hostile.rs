//! Damaged and hostile files give an error that names the fault, never a panic or an
//! allocation beyond the file's size.

use tokenroute_model::gguf::Gguf;

use crate::{here, tiny};

/// A file with these metadata entries and tensors, as bytes after the counts.
fn file(entries: &[Vec<u8>], tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((entries.len() as u64).to_le_bytes());
    bytes.extend(entries.concat());
    bytes.extend(tensors.concat());
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key), kind.to_le_bytes().as_slice(), value].concat()
}

fn tensor(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = text(name);
    bytes.extend((shape.len() as u32).to_le_bytes());
    bytes.extend(shape.iter().flat_map(|n| n.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

#[track_caller]
fn refused(bytes: Vec<u8>, words: &str) {
    let error = Gguf::parse(bytes).expect_err(words).to_string();
    assert!(error.contains(words), "{error}, not {words}");
}

#[test]
fn false_headers_are_refused_by_name() {
    let huge = u64::MAX.to_le_bytes();
    let array = |kind: u32, len: u64| [&kind.to_le_bytes()[..], &len.to_le_bytes()].concat();
    refused(Vec::new(), "the magic number");
    refused(b"GGML\x03\0\0\0".to_vec(), "\"GGUF\"");
    refused(b"GGUF\x01\0\0\0".to_vec(), "`version` is 1");
    refused([b"GGUF\x03\0\0\0".as_slice(), &huge, &huge].concat(), "number of tensors");
    refused(file(&[[huge.as_slice(), b"k"].concat()], &[], 0), "a metadata key");
    refused(file(&[entry("", 4, &[0; 4])], &[], 0), "0 bytes long");
    refused(file(&[entry("k", 8, &huge)], &[], 64), "`k`".trim_matches('`'));
    refused(file(&[entry("k", 99, &huge)], &[], 0), "type 99");
    refused(
        file(
            &[entry("k", 8, &[[2u8, 0, 0, 0, 0, 0, 0, 0].as_slice(), &[0xff, 0xfe]].concat())],
            &[],
            0,
        ),
        "not UTF-8",
    );
    for kind in [0, 4, 8, 12] {
        refused(file(&[entry("k", 9, &array(kind, u64::MAX))], &[], 64), "bytes");
        refused(file(&[entry("k", 9, &array(kind, 1 << 62))], &[], 64), "bytes");
    }
    refused(file(&[entry("k", 9, &array(9, 1))], &[], 64), "an array of type 9");
    refused(file(&[entry("k", 4, &[0; 4]), entry("k", 4, &[0; 4])], &[], 0), "repeated");
    for alignment in [0u32, 1, 3, 1 << 31] {
        let entry = entry("general.alignment", 4, &alignment.to_le_bytes());
        refused(file(&[entry], &[], 0), "general.alignment");
    }
}

#[test]
fn false_tensors_are_refused_by_name() {
    let one = |shape: &[u64], kind, offset| file(&[], &[tensor("t", shape, kind, offset)], 128);
    Gguf::parse(one(&[32], 0, 0)).expect("a sound file");
    refused(one(&[], 0, 0), "0 dimensions");
    refused(one(&[1; 5], 0, 0), "5 dimensions");
    refused(one(&[0, 4], 0, 0), "shape [4, 0]");
    refused(one(&[u64::MAX, u64::MAX], 0, 0), "`t` is of shape");
    refused(one(&[1 << 62, 4], 0, 0), "`t` is of shape");
    refused(one(&[31], 8, 0), "blocks of 32");
    refused(one(&[32], 4, 0), "ggml type 4");
    refused(one(&[256], 16, 0), "ggml type 16 (IQ2_XXS); expected one of F32, F16");
    refused(one(&[33], 0, 0), "tensor t at byte");
    refused(one(&[32], 0, 32), "tensor t at byte");
    refused(one(&[8], 0, 8), "offset of t");
    refused(one(&[8], 0, u64::MAX - 31), "offset of t");
    refused(one(&[8], 0, i64::MAX as u64 - 31), "tensor t at byte");
    let two = |second| file(&[], &[tensor("t", &[16], 0, 0), second], 128);
    refused(two(tensor("u", &[16], 0, 32)), "inside `t`");
    refused(two(tensor("u", &[16], 0, 0)), "inside `t`");
    refused(two(tensor("t", &[16], 0, 64)), "repeated");
    Gguf::parse(two(tensor("u", &[16], 0, 64))).expect("tensors side by side");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = tiny();
    // The header ends at the first tensor. A cut after that loses data.
    for len in (0..4096).chain((4096..whole.len() - 32).step_by(97)) {
        assert!(Gguf::parse(whole[..len].to_vec()).is_err(), "cut at {len}");
    }
}

#[test]
fn a_changed_byte_never_panics() {
    let gemma = std::fs::read(here("tiny-gemma3.gguf")).expect("the file");
    // The metadata of the second ends with scores and types of tokens.
    for (whole, places) in [(tiny(), 2048), (gemma, 8192)] {
        let mut seed = 1u64;
        for at in 0..places {
            for _ in 0..8192 / places {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let mut bytes = whole.clone();
                bytes[at] ^= (seed >> 33) as u8 | 1;
                let Ok(file) = Gguf::parse(bytes) else { continue };
                // With any header, reading gives values or errors.
                let _ = (file.config(), file.tokenizer());
                for name in file.weight_names().unwrap_or_default() {
                    if let Ok(Some(weight)) = file.weight(&name) {
                        let _ = weight.to_f32();
                    }
                }
            }
        }
    }
}

/// A small file whose tokens can be made in a great number of ways: a table of them would take
/// far more memory than the file.
#[test]
fn a_vocabulary_with_too_many_ways_is_refused() {
    let letters = |a: usize, b: usize| format!("{}{}", "a".repeat(a), "b".repeat(b));
    let all: Vec<String> =
        (0..40).flat_map(|a| (0..40).map(move |b| letters(a, b))).skip(1).collect();
    let list = |kind: u32, items: &[Vec<u8>]| {
        [&kind.to_le_bytes()[..], &(items.len() as u64).to_le_bytes(), &items.concat()].concat()
    };
    let tokens: Vec<Vec<u8>> = all.iter().map(|token| text(token)).collect();
    let scores: Vec<Vec<u8>> = (0..all.len()).map(|i| (-(i as f32)).to_le_bytes().into()).collect();
    let model = entry("tokenizer.ggml.model", 8, &text("llama"));
    let scores = entry("tokenizer.ggml.scores", 9, &list(6, &scores));
    let tokenizer = |tokens: &[Vec<u8>]| {
        let tokens = entry("tokenizer.ggml.tokens", 9, &list(8, tokens));
        let file = file(&[model.clone(), scores.clone(), tokens], &[], 0);
        Gguf::parse(file).expect("a sound header").tokenizer().map_err(|e| e.to_string())
    };
    let error = tokenizer(&tokens).expect_err("too many ways");
    assert!(error.contains("more than") && error.contains("ways"), "{error}");
    let mut long = tokens;
    long[0] = text(&"é".repeat(129));
    let error = tokenizer(&long).expect_err("a long token");
    assert!(error.contains("a token of 258 bytes; expected at most 256"), "{error}");
}
