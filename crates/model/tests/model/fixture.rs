//! Models whose weights are a hash, and transformers' results for them (written by
//! `tests/fixtures/make.py`).

use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokenroute_model::{Decoder, LoadOptions, load_decoder};

use crate::support::{Tensors, write_tensors};

/// A stored fixture.
#[derive(Deserialize)]
pub struct Fixture {
    pub config: Value,
    seed: u64,
    tensors: serde_json::Map<String, Value>,
    #[serde(flatten)]
    pub expected: Expected,
}

/// Transformers' results in f32.
#[derive(Deserialize)]
pub struct Expected {
    pub prompt: Vec<u32>,
    pub greedy: Vec<u32>,
    /// Least distance of the two greatest logits over all greedy steps.
    pub gap: f32,
    /// Standard deviation of all logits.
    pub deviation: f32,
    /// Stride of the stored elements of a hidden state.
    pub stride: usize,
    pub kept: Vec<Kept>,
}

/// One position.
#[derive(Deserialize)]
pub struct Kept {
    pub position: usize,
    pub logits: Vec<f32>,
    pub hidden: Vec<f32>,
}

impl Fixture {
    /// Names and contents of all committed fixtures.
    pub fn all() -> Vec<(String, Fixture)> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
            .expect("the folder of fixtures")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .collect();
        paths.sort();
        let read = |path: &PathBuf| {
            let text = std::fs::read(path).expect("a readable fixture");
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, serde_json::from_slice(&text).expect("a fixture"))
        };
        paths.iter().map(read).collect()
    }

    /// Reads one fixture.
    pub fn named(name: &str) -> Fixture {
        let text = std::fs::read(folder().join(format!("{name}.json"))).expect("a known fixture");
        serde_json::from_slice(&text).expect("a fixture")
    }

    /// The model's weights.
    pub fn tensors(&self) -> Tensors {
        let tensor = |(name, of): (&String, &Value)| {
            let number = |key: &str| of[key].as_f64().expect("a number") as f32;
            let shape: Vec<usize> = serde_json::from_value(of["shape"].clone()).expect("a shape");
            let size = shape.iter().product();
            let values = values(self.seed, name, size, number("offset"), number("spread"));
            (name.clone(), (shape, values))
        };
        self.tensors.iter().map(tensor).collect()
    }

    pub fn load(&self) -> Decoder {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = self.config.to_string();
        std::fs::write(dir.path().join("config.json"), config).expect("a writable directory");
        let weights = dir.path().join("model.safetensors");
        write_tensors(&weights, &self.tensors(), Dtype::F32, None);
        load_decoder(dir.path(), &LoadOptions::default()).expect("a sound model")
    }
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The script's `values`: splitmix64 of the tensor's key plus the index.
fn values(seed: u64, name: &str, size: usize, offset: f32, spread: f32) -> Vec<f32> {
    let digest = Sha256::digest(format!("{seed}/{name}"));
    let key = u64::from_le_bytes(digest[..8].try_into().expect("eight bytes"));
    (1..=size as u64)
        .map(|i| {
            let mut z = i.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(key);
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            ((z >> 40) as f32 / (1 << 23) as f32 - 1.0) * spread + offset
        })
        .collect()
}
