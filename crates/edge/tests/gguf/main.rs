//! GGUF files: one that llama.cpp's writer made, hostile ones, and what is exported
//! read back.

mod hostile;
mod reading;
mod writing;

use std::path::PathBuf;

/// A file of this folder.
fn here(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/gguf").join(name)
}

fn tiny() -> Vec<u8> {
    std::fs::read(here("tiny.gguf")).expect("tiny.gguf, made by make_tiny.py")
}
