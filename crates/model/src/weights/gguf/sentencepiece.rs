//! The `tokenizer.json` of a SentencePiece BPE vocabulary (`tokenizer.ggml.model = "llama"`):
//! Llama 2, Mistral, Gemma.
//!
//! SentencePiece keeps no merges. It joins the two neighbours whose joint text has the best
//! score, the leftmost first (`llm_tokenizer_spm` of llama.cpp). That is BPE with one merge for
//! every way to cut a token into two tokens, in the order of the scores. Spaces are written
//! "▁", and characters without a token become the tokens of their bytes.

use std::collections::HashMap;

use serde_json::{Map, Value as Json, json};

use super::bpe_lists::BpeLists;
use super::tokenizer::{NORMAL, TOKENS};
use super::{Gguf, GgufError, Value};

const SCORES: &str = "tokenizer.ggml.scores";

/// Most bytes of a token, and most ways to make the tokens.
const LONGEST: usize = 256;
const WAYS: usize = 16;
const LEAST_WAYS: usize = 1 << 12;

/// Written for a space.
const SPACE: &str = "\u{2581}";

impl Gguf {
    /// The file's tokenizer, from its scores.
    pub(super) fn sentencepiece(&self) -> Result<BpeLists<'_>, GgufError> {
        let (tokens, kinds) = self.token_list()?;
        let scores: Vec<f64> = self.list(SCORES)?.iter().filter_map(|s| s.as_f64()).collect();
        if scores.len() != tokens.len() {
            let expected = format!("numbers, as many as tokens, {}", tokens.len());
            return Err(GgufError::value(SCORES, format!("{} numbers", scores.len()), expected));
        }
        if let Some(bad) = scores.iter().find(|score| !score.is_finite()) {
            return Err(GgufError::value(SCORES, bad, "finite numbers"));
        }
        let (vocabulary, added) = self.vocabulary()?;
        let ordinary: HashMap<&str, usize> = tokens
            .iter()
            .zip(&kinds)
            .enumerate()
            .filter(|(_, (_, kind))| **kind == NORMAL)
            .map(|(id, (token, _))| (*token, id))
            .collect();
        let flag = |key: &str, default: bool| match self.get(key) {
            Some(Value::Bool(flag)) => flag,
            _ => default,
        };
        let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        let normalizer = if flag("tokenizer.ggml.add_space_prefix", true) {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
            json!({"type": "Sequence", "normalizers": [
                {"type": "Prepend", "prepend": SPACE}, spaces,
            ]})
        } else {
            spaces
        };
        let ends = [
            ("bos", flag("tokenizer.ggml.add_bos_token", true)),
            ("eos", flag("tokenizer.ggml.add_eos_token", false)),
        ];
        let ends = ends.map(|(name, wanted)| {
            let id = self.get(&format!("tokenizer.ggml.{name}_token_id"))?.as_u64()?;
            let token = *tokens.get(usize::try_from(id).ok()?)?;
            wanted.then_some((token, id))
        });
        let unknown = self.get("tokenizer.ggml.unknown_token_id").and_then(|id| id.as_u64());
        let unknown = unknown.and_then(|id| tokens.get(usize::try_from(id).ok()?));
        let rest = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": normalizer, "pre_tokenizer": null, "post_processor": around(ends),
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE", "dropout": null, "unk_token": unknown,
                "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            },
        });
        Ok(BpeLists { rest, vocabulary, merges: merges(&ordinary, &scores)? })
    }
}

/// The post-processor that puts tokens, with their ids, before and after a text.
fn around(ends: [Option<(&str, u64)>; 2]) -> Json {
    let [first, last] = ends;
    if first.is_none() && last.is_none() {
        return Json::Null;
    }
    let special = |end: Option<(&str, u64)>| {
        end.map(|(token, _)| json!({"SpecialToken": {"id": token, "type_id": 0}}))
    };
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let single: Vec<Json> =
        [special(first), Some(text), special(last)].into_iter().flatten().collect();
    let tokens: Map<String, Json> = ends
        .into_iter()
        .flatten()
        .map(|(token, id)| (token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]})))
        .collect();
    // A pair of texts is never encoded.
    json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": tokens})
}

/// Every way to cut an ordinary token into two, best scores first.
///
/// # Errors
/// A token, or a number of ways, beyond what real vocabularies have: Gemma's have 48 bytes and 2
/// ways for each token. A small file could ask for a table of any size.
fn merges<'a>(
    ordinary: &HashMap<&'a str, usize>,
    scores: &[f64],
) -> Result<Vec<(&'a str, &'a str)>, GgufError> {
    if let Some(token) = ordinary.keys().find(|token| token.len() > LONGEST) {
        let value = format!("a token of {} bytes", token.len());
        return Err(GgufError::value(TOKENS, value, format!("at most {LONGEST}")));
    }
    let mut order: Vec<(&'a str, usize)> =
        ordinary.iter().map(|(&token, &id)| (token, id)).collect();
    order.sort_by(|a, b| scores[b.1].total_cmp(&scores[a.1]).then(a.1.cmp(&b.1)));
    let most = LEAST_WAYS + WAYS * order.len();
    let mut merges = Vec::new();
    for (token, _) in order {
        // Longer left parts first, as transformers has them.
        let cuts: Vec<usize> = token.char_indices().map(|(at, _)| at).skip(1).collect();
        for at in cuts.into_iter().rev() {
            let (left, right) = token.split_at(at);
            if ordinary.contains_key(left) && ordinary.contains_key(right) {
                merges.push((left, right));
            }
        }
        if merges.len() > most {
            let value = format!("one whose tokens can be made in more than {most} ways");
            return Err(GgufError::value(TOKENS, value, format!("about {WAYS} ways a token")));
        }
    }
    Ok(merges)
}
