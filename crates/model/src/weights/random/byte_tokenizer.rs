//! A stand-in tokenizer for random models.

use serde_json::{Map, Value, json};

use crate::text::byte_names;

/// A `tokenizer.json` with a token for every byte, and names for the ids beyond, which no
/// text gives.
pub(super) fn tokenizer(size: usize) -> Value {
    let names = byte_names().map(String::from).chain((256..).map(|id| format!("<{id}>")));
    let vocabulary: Map<String, Value> =
        names.take(size).enumerate().map(|(id, name)| (name, json!(id))).collect();
    let bytes = |regex: bool| {
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
            "use_regex": regex})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": bytes(true), "post_processor": null,
        "decoder": bytes(true),
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
            "continuing_subword_prefix": null, "end_of_word_suffix": null,
            "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocabulary, "merges": []},
    })
}
