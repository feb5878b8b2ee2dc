//! Reads any bytes as the weights of a valid configuration, and as a router file.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_model::{LoadOptions, RouterScorer, load_decoder};
use tokenroute_fuzz::{CONFIG, Folder, decode};

static FOLDER: LazyLock<Folder> = LazyLock::new(|| {
    let folder = Folder::default();
    folder.put("config.json", CONFIG.as_bytes());
    folder
});

fuzz_target!(|bytes: &[u8]| {
    let file = FOLDER.put("model.safetensors", bytes);
    if let Ok(decoder) = load_decoder(FOLDER.path(), &LoadOptions::default()) {
        decode(&decoder);
    }
    let _ = RouterScorer::open(&file);
});
