//! Reads a router file, and scores an answer of two steps with what was read: any bytes, or, after a
//! first byte of 1, the JSON of a header, whose weights are made to fit.
#![no_main]

use std::borrow::Cow;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use tokenroute_core::{Position, RouterHeader, Scorer, Step};
use tokenroute_fuzz::{Folder, safetensors};
use tokenroute_model::RouterScorer;
use tokenroute_store::RouterFile;

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

/// A file with this header and the weights that it describes.
fn described(json: &[u8]) -> Option<Vec<u8>> {
    let header: RouterHeader = serde_json::from_slice(json).ok()?;
    let shapes = header.architecture.weights(header.features.width());
    let tensors = shapes.into_iter().enumerate().flat_map(|(i, shape)| {
        let bias = (shape.bias > 0).then(|| (format!("layers.{i}.bias"), vec![shape.bias]));
        [(format!("layers.{i}.weight"), shape.weight)].into_iter().chain(bias)
    });
    let text = String::from_utf8(json.to_vec()).ok()?;
    safetensors(tensors, json!({RouterHeader::METADATA_KEY: text}))
}

fuzz_target!(|bytes: &[u8]| {
    let made = match bytes {
        [1, json @ ..] => described(json).map(Cow::Owned),
        _ => None,
    };
    let path = FOLDER.put("router.safetensors", &made.unwrap_or(Cow::Borrowed(bytes)));
    let file = RouterFile::read(&path);
    let Ok(router) = RouterScorer::open(&path) else { return };
    let file = file.expect("a file that the scorer reads");
    let written = file.to_bytes().expect("a file that was read");
    assert_eq!(RouterFile::parse(&path, &written).expect("a file that was written"), file);
    // Not every head is an ONNX model.
    let _ = file.to_onnx();
    let header = router.header();
    let _ = (header.tau_at_offload(0.1), header.features.places(), header.features.summary());
    let top = header.features.top();
    let step = Step {
        token: 0,
        top: (0..top as u32).map(|token| (token, 0.5 / (token + 1) as f32)).collect(),
        entropy: 0.3,
        rest: 0.1,
        top_logits: vec![1.5; top],
        hidden: vec![0.5; header.features.reads_hidden()].into(),
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
    let Ok(first) = router.scored(&position) else { return };
    let _ = router.score(&Position { index: 1, state: first.state.as_ref(), ..position });
});
