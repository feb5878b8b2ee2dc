//! The cache of quantised weights: it gives the bits of a fresh load, it is used once it
//! exists, and a damaged or foreign file is never used.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tokenroute_core::{LanguageModel, stable_hash};
use tokenroute_model::gguf::Gguf;
use tokenroute_model::{Format, LoadError, LoadOptions, LoadedModel, load_model};

use crate::models::{model, step_bits};
use crate::support::ModelFiles;

fn options(format: Format, cache: Option<&Path>) -> LoadOptions {
    let cache = cache.map(Path::to_owned);
    LoadOptions { quantize: Some(format), cache, ..LoadOptions::default() }
}

/// A model's directory and a cache folder.
struct Kept {
    dir: tempfile::TempDir,
    format: Format,
}

impl Kept {
    fn new(files: &ModelFiles, format: Format) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let kept = Kept { dir, format };
        std::fs::create_dir(kept.model()).expect("a directory");
        files.write(&kept.model());
        kept
    }

    fn model(&self) -> PathBuf {
        self.dir.path().join("model")
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("deep/cache")
    }

    fn load(&self) -> LoadedModel {
        load_model(&self.model(), &options(self.format, Some(&self.folder()))).expect("a model")
    }

    fn load_without(&self) -> LoadedModel {
        load_model(&self.model(), &options(self.format, None)).expect("a model")
    }

    /// The only file in the cache.
    fn file(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.folder()).expect("the cache");
        let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }
}

#[test]
fn kept_weights_have_the_same_bits_and_the_same_name() {
    for kind in ["qwen2", "llama"] {
        for format in [Format::Q8_0, Format::Q4_0, Format::Q4K] {
            let kept = Kept::new(&model(kind), format);
            let without = kept.load_without();
            let (first, second) = (kept.load(), kept.load());
            assert_eq!(step_bits(&first), step_bits(&without), "{kind} in {format}");
            assert_eq!(step_bits(&second), step_bits(&without), "{kind} in {format}");
            let hash = &without.decoder.info().weights_hash;
            assert!(hash.ends_with(&format!("+{format}")), "{hash}");
            assert_eq!(&second.decoder.info().weights_hash, hash);
            let name = kept.file().file_name().map(|name| name.to_string_lossy().into_owned());
            assert_eq!(name, Some(format!("{}.gguf", hash.replace('+', "-"))));
        }
    }
}

#[test]
fn rows_that_are_no_whole_blocks_are_kept_too() {
    for format in [Format::Q4_0, Format::Q4K] {
        let kept = Kept::new(&ModelFiles::new(1).untied(), format);
        let without = step_bits(&kept.load_without());
        assert_eq!(step_bits(&kept.load()), without);
        assert_eq!(step_bits(&kept.load()), without);
    }
}

#[test]
fn what_is_kept_is_what_is_read() {
    let kept = Kept::new(&model("qwen2"), Format::Q8_0);
    let sound = step_bits(&kept.load());
    let path = kept.file();
    let mut bytes = std::fs::read(&path).expect("the file");
    let file = Gguf::parse(bytes.clone()).expect("a sound file");
    let sum = file.get("tokenroute.checksum").and_then(|v| v.as_str()).expect("a checksum");
    let hex = |bytes: &[u8]| format!("{:016x}", stable_hash(bytes));
    let starts = (0..bytes.len()).step_by(32);
    let start = starts.into_iter().find(|&at| hex(&bytes[at..]) == sum).expect("its start");
    // A changed weight with a matching checksum.
    let at = start + 2;
    bytes[at] ^= 0x40;
    let (old, new) = (sum.to_owned(), hex(&bytes[start..]));
    crate::models::replace(&mut bytes, &old, &new);
    std::fs::write(&path, bytes).expect("a writable file");
    assert_ne!(step_bits(&kept.load()), sound);
}

#[test]
fn a_damaged_or_foreign_file_is_written_again() {
    let kept = Kept::new(&model("llama"), Format::Q8_0);
    let sound = step_bits(&kept.load());
    let path = kept.file();
    let bytes = std::fs::read(&path).expect("the file");
    let other = Kept::new(&model("qwen3"), Format::Q8_0);
    other.load();
    let foreign = std::fs::read(other.file()).expect("the file");
    let mut flipped = bytes.clone();
    let last = flipped.len() - 40;
    flipped[last] ^= 1;
    for damage in
        [Vec::new(), b"GGUF".to_vec(), bytes[..bytes.len() - 32].to_vec(), flipped, foreign]
    {
        std::fs::write(&path, damage).expect("a writable file");
        assert_eq!(step_bits(&kept.load()), sound);
        assert_eq!(std::fs::read(kept.file()).expect("the file"), bytes);
    }
}

#[test]
fn what_killed_writes_have_left_is_removed() {
    let kept = Kept::new(&model("qwen2"), Format::Q8_0);
    std::fs::create_dir_all(kept.folder()).expect("a folder");
    let partial = |name: &str, age: u64| {
        let path = kept.folder().join(name);
        let file = std::fs::File::create(&path).expect("a file");
        let then = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(then).expect("a time");
        (path, file)
    };
    let (left, _) = partial(".partial-left", 120);
    let (young, _) = partial(".partial-young", 0);
    let (written, lock) = partial(".partial-written", 120);
    let (foreign, _) = partial("foreign", 120);
    lock.lock().expect("a lock");
    kept.load();
    let there = [left, young, written, foreign].map(|path| path.exists());
    assert_eq!(there, [false, true, true, true]);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let kept = Kept::new(&model("qwen2"), Format::Q8_0);
    std::fs::write(kept.dir.path().join("deep"), "a file").expect("a writable directory");
    let error = load_model(&kept.model(), &options(Format::Q8_0, Some(&kept.folder())));
    let error = error.expect_err("no folder");
    assert!(matches!(error, LoadError::Cache { .. }), "{error}");
    let message = error.to_string();
    for word in ["deep/cache", "TOKENROUTE_CACHE"] {
        assert!(message.contains(word), "{message:?} does not name {word:?}");
    }
}

#[test]
fn damaged_weights_are_named_and_not_kept() {
    let mut files = model("qwen2");
    let name = "model.layers.0.mlp.up_proj.weight";
    files.tensors.get_mut(name).expect("a tensor").1[5] = f32::INFINITY;
    let kept = Kept::new(&files, Format::Q8_0);
    let error = load_model(&kept.model(), &options(Format::Q8_0, Some(&kept.folder())));
    let message = error.expect_err("a weight").to_string();
    assert!(message.contains(name) && message.contains("model.safetensors"), "{message}");
    assert!(!kept.folder().exists());
}
