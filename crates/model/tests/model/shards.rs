//! Weights in shards, and files with false headers.

use std::path::Path;

use safetensors::Dtype;
use serde_json::{Value, json};
use tokenroute_core::LanguageModel;
use tokenroute_model::{LoadError, LoadOptions, LoadedModel, load_model};

use crate::support::{ModelFiles, Tensors, alone, write_tensors};

const O: &str = "model.layers.1.self_attn.o_proj.weight";

fn load(dir: &Path) -> Result<LoadedModel, LoadError> {
    load_model(dir, &LoadOptions::default())
}

/// Writes a model with its tensors in three shards and returns the index.
fn split(files: &ModelFiles, dir: &Path) -> Value {
    files.write(dir);
    std::fs::remove_file(dir.join("model.safetensors")).expect("the whole file");
    let mut index = json!({"metadata": {"total_size": 0}, "weight_map": {}});
    for shard in 0..3 {
        let name = format!("model-0000{}-of-00003.safetensors", shard + 1);
        let own: Tensors = files
            .tensors
            .iter()
            .enumerate()
            .filter(|(i, _)| i % 3 == shard)
            .map(|(_, (name, tensor))| (name.clone(), tensor.clone()))
            .collect();
        for tensor in own.keys() {
            index["weight_map"][tensor.as_str()] = json!(name);
        }
        write_tensors(&dir.join(name), &own, Dtype::F32, None);
    }
    put(dir, &index);
    index
}

fn put(dir: &Path, index: &Value) {
    std::fs::write(dir.join("model.safetensors.index.json"), index.to_string()).expect("an index");
}

#[test]
fn shards_give_what_the_whole_file_gives() {
    let files = ModelFiles::new(1).untied();
    let whole = files.load().expect("a whole file");
    let dir = tempfile::tempdir().expect("a temporary directory");
    split(&files, dir.path());
    let sharded = load(dir.path()).expect("three shards");
    let tokens = [1, 2, 3, 40, 5];
    assert_eq!(alone(&whole.decoder, &tokens, 5), alone(&sharded.decoder, &tokens, 5));
    let hash = |model: &LoadedModel| model.decoder.info().weights_hash.clone();
    assert_eq!(hash(&sharded).len(), 64);
    assert_ne!(hash(&sharded), hash(&whole));
    assert_eq!(hash(&sharded), hash(&load(dir.path()).expect("the same")));
    let mut other = files;
    other.tensors.get_mut(O).expect("a tensor").1[0] += 0.5;
    split(&other, dir.path());
    assert_ne!(hash(&sharded), hash(&load(dir.path()).expect("other weights")));
}

#[test]
fn a_model_outlives_its_files_being_replaced() {
    let (files, other) = (ModelFiles::new(1), ModelFiles::new(2));
    let dir = tempfile::tempdir().expect("a temporary directory");
    files.write(dir.path());
    let model = load(dir.path()).expect("a sound model").decoder;
    let before = alone(&model, &[1, 2, 3], 3);
    other.write(dir.path());
    assert_eq!(alone(&model, &[1, 2, 3], 3), before);
}

#[test]
fn an_index_that_leads_astray_is_refused_by_name() {
    let files = ModelFiles::new(1);
    let check = |spoil: &dyn Fn(&Path, &mut Value), words: &[&str]| {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut index = split(&files, dir.path());
        spoil(dir.path(), &mut index);
        put(dir.path(), &index);
        let message = load(dir.path()).expect_err("a spoilt index").to_string();
        for word in words {
            assert!(message.contains(word), "{message:?} does not name {word:?}");
        }
    };
    let second = "model-00002-of-00003.safetensors";
    check(
        &|dir, _| std::fs::remove_file(dir.join(second)).expect("a shard"),
        &["cannot read", second, "index.json"],
    );
    check(
        &|dir, _| std::fs::write(dir.join(second), "short").expect("a shard"),
        &[second, "5 bytes", "safetensors"],
    );
    check(&|_, i| drop(i["weight_map"].as_object_mut().map(|m| m.remove(O))), &["index.json", O]);
    let elsewhere = files.tensors.keys().position(|name| name == O).expect("a tensor") % 3;
    let wrong = format!("model-0000{}-of-00003.safetensors", (elsewhere + 1) % 3 + 1);
    check(&|_, i| i["weight_map"][O] = json!(wrong), &[&wrong, O]);
    for path in ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", ""] {
        check(&|_, i| i["weight_map"][O] = json!(path), &["weight_map", O, path]);
    }
    check(&|_, i| i["weight_map"] = json!({}), &["weight_map"]);
    check(&|_, i| i["weight_map"] = json!([1]), &["weight_map", "[1]"]);
    check(&|_, i| *i = json!(null), &["index.json", "object"]);
}

/// A safetensors file with a given header and number of tensor bytes.
fn hostile(header: &str, bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.resize(file.len() + bytes, 0);
    file
}

#[test]
fn headers_that_lie_are_refused_without_harm() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    ModelFiles::new(1).write(dir.path());
    let check = |bytes: Vec<u8>| {
        let weights = dir.path().join("model.safetensors");
        std::fs::remove_file(&weights).expect("the file before");
        std::fs::write(&weights, bytes).expect("a writable file");
        let error = load(dir.path()).expect_err("a hostile file");
        assert!(matches!(error, LoadError::BadFile { .. }), "{error}");
        assert!(error.to_string().contains("model.safetensors"), "{error}");
    };
    let entry = |dtype: &str, shape: &str, from: u64, to: u64| {
        format!("{{\"dtype\":\"{dtype}\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
    };
    let one = |entry: String| format!("{{\"model.embed_tokens.weight\":{entry}}}");
    // Lengths of the header itself.
    check(u64::MAX.to_le_bytes().to_vec());
    check((1u64 << 40).to_le_bytes().to_vec());
    check([99_999_999u64.to_le_bytes().to_vec(), vec![b' '; 100]].concat());
    // Not JSON, JSON of another kind, JSON without end.
    check(hostile("not json", 0));
    check(hostile("[1, 2]", 0));
    check(hostile(&"[".repeat(100_000), 0));
    check(hostile(&format!("{{\"a\":{}", "{\"b\":".repeat(10_000)), 0));
    // Sizes that overflow, do not fit their type, or reach past the file.
    check(hostile(&one(entry("F32", "[4611686018427387904, 16]", 0, 64)), 64));
    check(hostile(&one(entry("F32", "[50, 48]", 0, u64::MAX)), 9600));
    check(hostile(&one(entry("F32", "[50, 48]", 0, 4800)), 4800));
    check(hostile(&one(entry("F32", "[50, 48]", 0, 9600)), 100));
    check(hostile(&one(entry("F32", "[50, 48]", 9600, 0)), 9600));
    check(hostile(&one(entry("F99", "[50, 48]", 0, 9600)), 9600));
    check(hostile(&one(entry("F32", "[-1, 48]", 0, 9600)), 9600));
    // Tensors that overlap or leave a hole.
    let two = |b: String| format!("{{\"a\":{},\"b\":{b}}}", entry("F32", "[4]", 0, 16));
    check(hostile(&two(entry("F32", "[4]", 8, 24)), 24));
    check(hostile(&two(entry("F32", "[4]", 20, 36)), 36));
}

#[test]
fn types_that_are_not_read_are_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = ModelFiles::new(1);
    files.write(dir.path());
    let weights = dir.path().join("model.safetensors");
    for (dtype, size) in [("F64", 8), ("I8", 1), ("F8_E4M3", 1)] {
        let bytes = 48 * size;
        let header = format!(
            "{{\"model.layers.0.input_layernorm.weight\":{{\"dtype\":\"{dtype}\",\"shape\":[48],\"data_offsets\":[0,{bytes}]}}}}"
        );
        std::fs::remove_file(&weights).expect("the file before");
        std::fs::write(&weights, hostile(&header, bytes)).expect("a writable file");
        let message = load(dir.path()).expect_err("another type").to_string();
        for word in ["input_layernorm", "BF16"] {
            assert!(message.contains(word), "{message}");
        }
    }
}
