//! Reads any bytes as the hidden states that an engine computed for one request.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_fuzz::Folder;
use tokenroute_store::EngineStates;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.put("request.safetensors", bytes);
    let tokens = EngineStates::tokens(&path);
    let Ok(states) = EngineStates::read(&path) else { return };
    assert_eq!(tokens.expect("tokens that were read"), states.tokens);
    assert_eq!(states.values.len(), states.tokens.len() * states.width);
});
