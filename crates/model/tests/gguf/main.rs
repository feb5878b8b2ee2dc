//! GGUF files: a file of llama.cpp's writer, hostile files, exported files read back, and
//! models loaded from them.

mod cache;
#[cfg(feature = "devices")]
mod candle;
mod gemma;
mod hostile;
mod layouts;
mod loading;
mod models;
mod peer;
mod reading;
mod split;
#[allow(dead_code, reason = "a part of it is used here")]
#[path = "../model/support.rs"]
mod support;
mod writing;

use std::path::PathBuf;

/// Reads a file of this folder.
fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/gguf").join(name)
}

fn tiny() -> Vec<u8> {
    std::fs::read(here("tiny.gguf")).expect("tiny.gguf, made by make_tiny.py")
}
