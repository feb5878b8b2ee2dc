//! Reads any bytes as a router file, and scores a step with what was read.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_core::{Position, Scorer, Step};
use tokenroute_fuzz::Folder;
use tokenroute_model::RouterScorer;
use tokenroute_store::RouterFile;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.put("router.safetensors", bytes);
    let file = RouterFile::read(&path);
    let Ok(router) = RouterScorer::open(&path) else { return };
    file.expect("a file that the scorer reads");
    let _ = router.header().tau_at_offload(0.1);
    let width = router.header().normalisation.mean.len();
    let step = Step {
        token: 0,
        top: vec![(0, 0.9), (1, 0.1)],
        entropy: 0.3,
        rest: 0.1,
        top_logits: vec![1.5, -0.5],
        hidden: vec![0.5; width].into(),
        logits: None,
    };
    let position = Position {
        question: "q",
        index: 0,
        previous: 0,
        step: &step,
        sentence_entropy: 0.3,
        paragraph_entropy: 0.3,
        lowest: 0.7,
        state: None,
        llm: None,
    };
    // Overflowing weights are an error of the router, not of the reader.
    let _ = router.score(&position);
});
