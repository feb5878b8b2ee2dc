//! Reads any bytes as a `tokenizer.json`, and takes texts to tokens and back. A tokenizer that
//! spells texts byte for byte gives them back.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use tokenroute_core::Speller;
use tokenroute_fuzz::{Folder, let_panics_be_caught};
use tokenroute_model::{Detokeniser, Tokenizer};

const TEXTS: [&str; 3] = ["a b", " Ab  \u{e9}\u{4e2d}<end> 12", "ab\n\u{1f34e}a"];

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

fuzz_target!(|bytes: &[u8]| {
    // The reader turns a panic of the library into an error.
    let_panics_be_caught();
    let path = FOLDER.put("tokenizer.json", bytes);
    let Ok(tokenizer) = Tokenizer::read(&path) else { return };
    if tokenizer.size() > 1 << 12 {
        return;
    }
    let _ = (tokenizer.token_texts(), tokenizer.longest_token());
    if let Ok(vocabulary) = tokenizer.vocabulary(&[0]) {
        let _ = tokenizer.separated(vocabulary, "ab");
    }
    let tokenizer = Arc::new(tokenizer);
    for text in TEXTS {
        let _ = (tokenizer.special_token_in(text), tokenizer.encode_prompt(text));
        let Ok(ids) = tokenizer.encode(text) else { continue };
        let _ = tokenizer.decode(&ids);
        let mut stream = Detokeniser::new(Arc::clone(&tokenizer));
        if ids.iter().all(|&id| stream.push(id).is_ok()) {
            let _ = stream.finish();
        }
    }
    let Ok(bytewise) = tokenizer.bytewise() else { return };
    for text in TEXTS {
        if let Ok(spelled) = bytewise.spell(text) {
            assert_eq!(bytewise.bytes_of(&spelled.tokens), text.as_bytes());
        }
    }
});
