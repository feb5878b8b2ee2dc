//! Reads a `config.json`, a zero byte and a `generation_config.json`, with valid weights.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_model::{LoadOptions, load_model};
use tokenroute_fuzz::{Folder, TOKENIZER, decode, weights};

static FOLDER: LazyLock<Folder> = LazyLock::new(|| {
    let folder = Folder::default();
    folder.put("tokenizer.json", TOKENIZER.as_bytes());
    folder.put("model.safetensors", &weights());
    folder
});

fuzz_target!(|bytes: &[u8]| {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (config, generation) = bytes.split_at(end);
    FOLDER.put("config.json", config);
    FOLDER.put("generation_config.json", generation.get(1..).unwrap_or(b"{}"));
    if let Ok(model) = load_model(FOLDER.path(), &LoadOptions::default()) {
        decode(&model.decoder);
    }
});
