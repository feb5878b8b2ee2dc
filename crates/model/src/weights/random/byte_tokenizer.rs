//! A stand-in tokenizer for random models.

use serde_json::{Map, Value, json};

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

/// The characters that stand for bytes 0 to 255 in byte-level BPE (GPT-2's
/// `bytes_to_unicode`): printable ones for themselves, others from U+0100 on.
fn byte_names() -> impl Iterator<Item = char> {
    let mut next = 0x100;
    (0..=255u8).map(move |byte| {
        if matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..) {
            return char::from(byte);
        }
        next += 1;
        char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
    })
}
