//! Reads a published head. The first byte chooses the publisher, and whether the rest is a file or
//! JSON with the shapes of its tensors.
#![no_main]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokenroute_core::ModelInfo;
use tokenroute_fuzz::{Folder, safetensors};
use tokenroute_model::RouterScorer;
use tokenroute_store::{PublishedHead, Publisher, StoreError, TokenEmbedding};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

fuzz_target!(|bytes: &[u8]| {
    let Some((&first, rest)) = bytes.split_first() else { return };
    let (_, publisher) = Publisher::NAMES[usize::from(first) % Publisher::NAMES.len()];
    let shapes = || serde_json::from_slice::<BTreeMap<String, Vec<usize>>>(rest).ok();
    let made = (first < 128).then(shapes).flatten();
    let made = made.and_then(|shapes| safetensors(shapes, Value::Null)).map(Cow::Owned);
    let path = FOLDER.put("head.safetensors", &made.unwrap_or(Cow::Borrowed(rest)));
    let embedding = || Ok::<_, StoreError>(TokenEmbedding { width: 2, values: vec![0.5; 6] });
    let Ok(head) = PublishedHead::read(&path, publisher, embedding) else { return };
    let info = ModelInfo {
        name: "slm".to_owned(),
        weights_hash: "a".to_owned(),
        hidden: head.features.hidden,
        vocabulary: 3,
        context: 8,
        top_k: head.features.top_logits,
    };
    let router = head.router(&info, "b");
    // Numbers that overflow when batch norm is folded in are an error.
    let Ok(bytes) = router.to_bytes() else { return };
    let path = FOLDER.put("router.safetensors", &bytes);
    let scorer = RouterScorer::open(&path).expect("a router that was made");
    scorer.check(&info, "b").expect("a router of this model");
    let _ = (scorer.logit(&vec![0.5; router.header.features.width()]), router.to_onnx());
});
