//! Opens an answer cache: any bytes, or a sound cache with some bytes replaced. What it answers
//! is in the vocabulary.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_core::{Ask, Llm, TokenId};
use tokenroute_fuzz::{Folder, let_panics_be_caught, spoilt};
use tokenroute_llm::http::Answers;
use tokenroute_llm::{InProcess, ToyModel};

const CONTEXT: [TokenId; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = FOLDER.path().join("sound.redb");
    ask(&path).expect("a sound cache");
    std::fs::read(path).expect("a cache")
});

/// Opens a cache and asks it.
fn ask(path: &std::path::Path) -> Option<()> {
    let (vocabulary, llm) = (ToyModel::vocabulary(), InProcess::new(ToyModel::new(1)));
    let answers = Answers::open(path, "toy", &vocabulary, llm).ok()?;
    for from in [2, 5] {
        if let Ok(reply) = answers.ask(&[Ask::greedy(&CONTEXT, from)]).remove(0) {
            assert!(reply.tokens.iter().all(|&token| (token as usize) < vocabulary.len()));
        }
    }
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    // The cache turns a panic of the database into an error.
    let_panics_be_caught();
    let sound = LazyLock::force(&SOUND);
    let _ = ask(&FOLDER.put("answers.redb", &spoilt(sound, bytes)));
});
