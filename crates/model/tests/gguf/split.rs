//! A model in several files, as `llama-gguf-split` writes them.

use std::path::{Path, PathBuf};

use tokenroute_model::gguf::{Gguf, Kind};
use tokenroute_model::{LoadOptions, files_hash, load_model};

use crate::models::{exported, model, step_bits};

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn small(key: &str, value: u16) -> Vec<u8> {
    [&text(key), &2u32.to_le_bytes()[..], &value.to_le_bytes()].concat()
}

fn padded(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(32), 0);
}

/// Cuts a whole file into parts. The first has all metadata; each has a share of the tensors.
fn split(whole: &[u8], count: usize) -> Vec<Vec<u8>> {
    let file = Gguf::parse(whole.to_vec()).expect("a sound file");
    let entries = u64::from_le_bytes(whole[16..24].try_into().expect("eight bytes"));
    let names: Vec<&str> = file.tensors().map(|(name, _)| name).collect();
    // The list of tensors follows the metadata.
    let first = names.iter().filter_map(|name| {
        let entry = [text(name), vec![]].concat();
        whole.windows(entry.len()).position(|window| window == entry)
    });
    let metadata = &whole[24..first.min().expect("tensors")];
    let share = names.len().div_ceil(count);
    (0..count)
        .map(|part| {
            let names = &names[part * share..names.len().min((part + 1) * share)];
            let own = [
                small("split.no", part as u16),
                small("split.count", count as u16),
                small("split.tensors.count", file.tensors().count() as u16),
            ];
            let mut bytes = b"GGUF\x03\0\0\0".to_vec();
            bytes.extend((names.len() as u64).to_le_bytes());
            bytes.extend((own.len() as u64 + if part == 0 { entries } else { 0 }).to_le_bytes());
            bytes.extend(if part == 0 { metadata } else { &[] });
            bytes.extend(own.concat());
            let mut data = Vec::new();
            for name in names {
                let tensor = file.tensor(name).expect("a tensor");
                bytes.extend(text(name));
                bytes.extend((tensor.shape.len() as u32).to_le_bytes());
                bytes.extend(tensor.shape.iter().rev().flat_map(|&n| (n as u64).to_le_bytes()));
                // Only f32 is used here, whose number is 0.
                assert_eq!(tensor.kind, Kind::F32);
                bytes.extend(0u32.to_le_bytes());
                bytes.extend((data.len() as u64).to_le_bytes());
                data.extend(file.bytes(tensor));
                padded(&mut data);
            }
            padded(&mut bytes);
            bytes.extend(data);
            bytes
        })
        .collect()
}

fn part(folder: &Path, number: usize, count: usize) -> PathBuf {
    folder.join(format!("m-{number:05}-of-{count:05}.gguf"))
}

fn hash(path: &Path) -> String {
    let sha256 = |file: &Path| {
        let bytes = std::fs::read(file).expect("a file");
        Ok::<_, tokenroute_model::LoadError>(format!("{:064x}", bytes.len()))
    };
    files_hash(path, sha256).expect("a hash")
}

#[test]
fn the_first_part_loads_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let whole = exported(&model("qwen3"), Kind::F32, &[]).expect("a file");
    let path = dir.path().join("whole.gguf");
    std::fs::write(&path, &whole).expect("a write");
    let expected = step_bits(&load_model(&path, &LoadOptions::default()).expect("a model"));
    for (number, bytes) in split(&whole, 3).into_iter().enumerate() {
        std::fs::write(part(dir.path(), number + 1, 3), bytes).expect("a write");
    }
    let first = part(dir.path(), 1, 3);
    let loaded = load_model(&first, &LoadOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(step_bits(&loaded), expected);
    // Every part belongs to the weights' identity.
    let before = hash(&first);
    let mut last = std::fs::read(part(dir.path(), 3, 3)).expect("a file");
    last.push(0);
    std::fs::write(part(dir.path(), 3, 3), last).expect("a write");
    assert_ne!(hash(&first), before);
    assert_eq!(hash(&path), format!("{:064x}", whole.len()), "one file has its own hash");
}

#[test]
fn parts_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let whole = exported(&model("qwen3"), Kind::F32, &[]).expect("a file");
    let parts = split(&whole, 3);
    let [first, second, third] = [1, 2, 3].map(|number| part(dir.path(), number, 3));
    let write = |path: &Path, bytes: &[u8]| std::fs::write(path, bytes).expect("a write");
    write(&first, &parts[0]);
    write(&second, &parts[1]);
    let refused = |path: &Path, words: &[&str]| {
        let error = load_model(path, &LoadOptions::default()).expect_err("a fault").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}: {words:?}");
    };
    refused(&first, &["m-00003-of-00003.gguf"]);
    write(&third, &parts[2]);
    refused(&second, &["split.no", "1", "name the first part, m-00001-of-00003.gguf"]);
    write(&third, &parts[1]);
    refused(&first, &["m-00003-of-00003.gguf", "`split.no` is 1; expected 2"]);
    write(&third, &split(&whole, 2)[1]);
    refused(&first, &["m-00003-of-00003.gguf", "`split.count` is 2; expected 3"]);
    write(&third, &parts[2][..parts[2].len() - 64]);
    refused(&first, &["m-00003-of-00003.gguf", "cut short"]);
    let renamed = dir.path().join("model.gguf");
    write(&renamed, &parts[0]);
    refused(&renamed, &["model.gguf", "-00001-of-00003.gguf"]);
}
