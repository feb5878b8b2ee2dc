//! A tokenizer of `tokenizers` from the lists of a GGUF file, without a `tokenizer.json` in between.

use std::error::Error;

use serde_json::{Value, json};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, BpeBuilder, Vocab};
use tokenroute_core::TokenId;

use crate::weights::gguf::BpeLists;

/// The tokenizer that the `tokenizer.json` of these lists gives, with its list of added tokens.
///
/// # Errors
/// Those of `tokenizers`.
pub(super) fn tokenizer(
    lists: BpeLists<'_>,
    added: &Value,
) -> tokenizers::Result<tokenizers::Tokenizer> {
    let BpeLists { mut rest, vocabulary, merges } = lists;
    let model = bpe(&rest["model"], &vocabulary, &merges)?;
    drop((vocabulary, merges));
    // The model takes the place of an empty one.
    rest["model"] = json!({"type": "BPE", "vocab": {}, "merges": []});
    rest["added_tokens"] = json!([]);
    let mut tokenizer: tokenizers::Tokenizer = rest.to_string().parse()?;
    tokenizer.with_model(model);
    let added: Vec<AddedToken> = serde_json::from_value(added.clone())?;
    tokenizer.add_tokens(added)?;
    Ok(tokenizer)
}

/// The model with the settings of a `tokenizer.json`'s `model`.
fn bpe(
    settings: &Value,
    vocabulary: &[(&str, usize)],
    merges: &[(&str, &str)],
) -> Result<BPE, Box<dyn Error + Send + Sync>> {
    let mut ids = Vocab::with_capacity(vocabulary.len());
    for &(token, id) in vocabulary {
        ids.insert(token.to_owned(), TokenId::try_from(id)?);
    }
    let merges = merges.iter().map(|&(left, right)| (left.to_owned(), right.to_owned())).collect();
    let is_set = |key: &str| settings[key].as_bool() == Some(true);
    let mut builder = BpeBuilder::new()
        .vocab_and_merges(ids, merges)
        .fuse_unk(is_set("fuse_unk"))
        .byte_fallback(is_set("byte_fallback"))
        .ignore_merges(is_set("ignore_merges"));
    if let Some(unknown) = settings["unk_token"].as_str() {
        builder = builder.unk_token(unknown.to_owned());
    }
    builder.build()
}
