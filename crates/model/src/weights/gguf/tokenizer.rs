//! Translates `tokenizer.ggml.*` to Hugging Face's `tokenizer.json` and back, for byte-level
//! BPE. Of SentencePiece it reads the list of tokens.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::bpe_lists::{BpeLists, Listed, ListedTokenizer, sorted};
use super::config::{GEMMA3, PHI3};
use super::{Array, Gguf, GgufError, Value};

/// The key under which a GGUF file may hold the whole `tokenizer.json`.
pub(super) const WHOLE: &str = "tokenizer.huggingface.json";

/// Keys of the ids of tokens that end an answer.
pub(super) const ENDS: [&str; 3] =
    ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];

/// Texts of control tokens that end an answer even if no key names them, from llama.cpp's
/// list.
const KNOWN_ENDS: [&str; 5] =
    ["<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>"];

/// As [`KNOWN_ENDS`], in the files of one architecture.
const ENDS_OF: [(&str, &str); 2] = [(GEMMA3, "<end_of_turn>"), (PHI3, "<|end|>")];

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";

/// Token types of llama.cpp (`llama_token_type`).
pub(super) const NORMAL: i32 = 1;
pub(super) const CONTROL: i32 = 3;
pub(super) const USER_DEFINED: i32 = 4;
pub(super) const UNUSED: i32 = 5;

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Of GPT-4o, which Phi-4-mini has too.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

fn byte_level(regex: bool, trim: bool) -> Json {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": trim, "use_regex": regex})
}

fn split(regex: &str, trim: bool) -> Json {
    json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false},
        byte_level(false, trim),
    ]})
}

/// The pre-tokenizer for a `tokenizer.ggml.pre`, as in the released models.
fn pre_tokenizer(pre: &str) -> Option<Json> {
    Some(match pre {
        "qwen2" | "deepseek-r1-qwen" => split(QWEN2, true),
        "llama-bpe" | "llama3" => split(LLAMA3, true),
        "gpt-4o" => split(GPT4O, true),
        "gpt-2" | "default" => byte_level(true, true),
        "smollm" => json!({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true}, byte_level(true, true),
        ]}),
        _ => return None,
    })
}

/// The `tokenizer.ggml.pre` of a pre-tokenizer. `trim_offsets` is ignored, since it changes
/// no ids.
pub(super) fn pre_name(pre: &Json) -> Option<&'static str> {
    fn plain(json: &Json) -> Json {
        match json {
            Json::Object(map) => {
                let kept = map.iter().filter(|(key, _)| *key != "trim_offsets");
                Json::Object(kept.map(|(key, value)| (key.clone(), plain(value))).collect())
            }
            Json::Array(list) => list.iter().map(plain).collect(),
            other => other.clone(),
        }
    }
    let names = ["qwen2", "llama-bpe", "gpt-4o", "gpt-2", "smollm"];
    names.into_iter().find(|name| pre_tokenizer(name).is_some_and(|p| plain(&p) == plain(pre)))
}

impl Gguf {
    /// The file's `tokenizer.json`: the one that it holds whole, else one made from its
    /// vocabulary and merges.
    ///
    /// # Errors
    /// A tokenizer of another kind than byte-level BPE and SentencePiece BPE; an unknown
    /// pre-tokenizer; lists that do not fit together. A `tokenizer.json` beside the file avoids all of these.
    pub fn tokenizer(&self) -> Result<Json, GgufError> {
        self.listed_tokenizer().map(Json::from)
    }

    /// [`Gguf::tokenizer`] with vocabulary and merges as the file lists them.
    pub(super) fn listed_tokenizer(&self) -> Result<ListedTokenizer<'_>, GgufError> {
        if let Some(text) = self.get(WHOLE).and_then(|value| value.as_str()) {
            return serde_json::from_str(text)
                .map(ListedTokenizer::Whole)
                .map_err(|error| GgufError::value(WHOLE, error, "a tokenizer.json"));
        }
        let text = |key: &str, expected: &str| {
            let value = self.get(key).ok_or_else(|| GgufError::missing(key, expected))?;
            value.as_str().ok_or_else(|| GgufError::value(key, value, expected))
        };
        let beside = "; else put the model's tokenizer.json beside the file";
        let model = text("tokenizer.ggml.model", "\"gpt2\" or \"llama\"")?;
        if model == "llama" {
            return self.sentencepiece().map(ListedTokenizer::Lists);
        }
        if model != "gpt2" {
            let expected =
                format!("\"gpt2\", byte-level BPE, or \"llama\", SentencePiece BPE{beside}");
            return Err(GgufError::value("tokenizer.ggml.model", format!("{model:?}"), expected));
        }
        let pre = text("tokenizer.ggml.pre", "the name of a pre-tokenizer")?;
        let pre_json = pre_tokenizer(pre).ok_or_else(|| {
            let expected = format!("qwen2, llama-bpe, gpt-2 or smollm{beside}");
            GgufError::value("tokenizer.ggml.pre", format!("{pre:?}"), expected)
        })?;
        let (vocabulary, added) = self.vocabulary()?;
        let merges = texts(self.list("tokenizer.ggml.merges")?, "tokenizer.ggml.merges")?;
        let merges: Result<Vec<_>, _> = merges.into_iter().map(two_tokens).collect();
        let nfc = matches!(pre, "qwen2" | "deepseek-r1-qwen");
        let rest = json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
            "normalizer": nfc.then(|| json!({"type": "NFC"})),
            "pre_tokenizer": pre_json, "post_processor": null,
            "decoder": byte_level(false, true),
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": null, "end_of_word_suffix": null,
                "fuse_unk": false, "byte_fallback": false,
                "ignore_merges": matches!(pre, "llama-bpe" | "llama3"),
            },
        });
        Ok(ListedTokenizer::Lists(BpeLists { rest, vocabulary, merges: merges? }))
    }

    /// The tokens and their types, in order of ids.
    pub(super) fn token_list(&self) -> Result<(Vec<&str>, Vec<i32>), GgufError> {
        let tokens = texts(self.list(TOKENS)?, TOKENS)?;
        let kinds: Vec<i32> = match self.get(TOKEN_TYPES) {
            None => vec![NORMAL; tokens.len()],
            Some(_) => self.list(TOKEN_TYPES)?.iter().map(token_type).collect(),
        };
        if kinds.len() != tokens.len() {
            let expected = format!("as many as tokens, {}", tokens.len());
            return Err(GgufError::value(TOKEN_TYPES, kinds.len(), expected));
        }
        Ok((tokens, kinds))
    }

    /// Ordinary tokens with their ids, in alphabetical order, and the list of added ones.
    pub(super) fn vocabulary(&self) -> Result<(Listed<'_>, Vec<Json>), GgufError> {
        let (tokens, kinds) = self.token_list()?;
        let is_added = |kind: i32| matches!(kind, CONTROL | USER_DEFINED);
        // Unused tokens are padding of the embedding.
        let is_ordinary = |kind: i32| !is_added(kind) && kind != UNUSED;
        let last = kinds.iter().rposition(|&kind| is_ordinary(kind));
        let (mut vocabulary, mut added) = (Vec::with_capacity(tokens.len()), Vec::new());
        for (id, (token, &kind)) in tokens.into_iter().zip(&kinds).enumerate() {
            if is_added(kind) {
                added.push(json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": kind == CONTROL,
                }));
            }
            // `tokenizers` numbers added tokens on from the ordinary ones. An added token in
            // between gets its id from the vocabulary.
            let within = is_added(kind) && Some(id) < last;
            if within || is_ordinary(kind) {
                vocabulary.push((token, id));
            }
        }
        Ok((sorted(vocabulary)?, added))
    }

    /// Tokens that end an answer: those named by metadata, in order. In files that this
    /// workspace did not write, control tokens of [`KNOWN_ENDS`] follow.
    pub(super) fn end_tokens(&self) -> Vec<u64> {
        let mut ends = Vec::new();
        let mut add = |id: u64| {
            if !ends.contains(&id) {
                ends.push(id);
            }
        };
        ENDS.iter().filter_map(|key| self.get(key)?.as_u64()).for_each(&mut add);
        let architecture = self.architecture().unwrap_or_default();
        if let (None, Ok(tokens), Ok(kinds)) =
            (self.get(WHOLE), self.list(TOKENS), self.list(TOKEN_TYPES))
        {
            for (id, (token, kind)) in tokens.iter().zip(kinds.iter()).enumerate() {
                let known = token.as_str().is_some_and(|token| {
                    KNOWN_ENDS.contains(&token) || ENDS_OF.contains(&(architecture, token))
                });
                if known && token_type(kind) == CONTROL {
                    add(id as u64);
                }
            }
        }
        ends
    }

    /// Texts of the special tokens that a chat template may use, by the template's names.
    pub(crate) fn special_tokens(&self) -> BTreeMap<String, String> {
        let text = |key: &str| {
            let id = self.get(&format!("tokenizer.ggml.{key}_token_id"))?.as_u64()?;
            let token = self.list(TOKENS).ok()?.iter().nth(usize::try_from(id).ok()?)?;
            token.as_str().map(str::to_owned)
        };
        [("bos", "bos_token"), ("eos", "eos_token"), ("padding", "pad_token")]
            .into_iter()
            .filter_map(|(key, name)| Some((name.to_owned(), text(key)?)))
            .collect()
    }

    pub(super) fn list(&self, key: &str) -> Result<Array<'_>, GgufError> {
        match self.get(key) {
            Some(Value::Array(array)) => Ok(array),
            Some(other) => Err(GgufError::value(key, other, "an array")),
            None => Err(GgufError::missing(key, "an array")),
        }
    }
}

/// A token's type. An invalid type counts as that of an ordinary token.
fn token_type(value: Value<'_>) -> i32 {
    value.as_u64().and_then(|kind| i32::try_from(kind).ok()).unwrap_or(NORMAL)
}

fn texts<'a>(array: Array<'a>, key: &str) -> Result<Vec<&'a str>, GgufError> {
    let text = |value: Value<'a>| {
        value.as_str().ok_or_else(|| GgufError::value(key, value, "an array of texts"))
    };
    array.iter().map(text).collect()
}

/// The two tokens that a merge joins.
fn two_tokens(merge: &str) -> Result<(&str, &str), GgufError> {
    merge.split_once(' ').ok_or_else(|| {
        GgufError::value("tokenizer.ggml.merges", format!("{merge:?}"), "two tokens")
    })
}

/// The first `size` tokens of a `tokenizer.json` and their types. Ids without a token are
/// padding.
pub(super) fn tokens(tokenizer: &Json, size: usize) -> Result<(Vec<String>, Vec<i32>), GgufError> {
    let mut tokens: Vec<String> = (0..size).map(|id| format!("[PAD{id}]")).collect();
    let mut kinds = vec![UNUSED; size];
    let mut put = |id: &Json, token: &str, kind: i32| {
        let place = id.as_u64().map(|id| id as usize).filter(|&id| id < size).ok_or_else(|| {
            GgufError::value(format!("id of {token:?}"), id, format!("below vocab_size, {size}"))
        })?;
        tokens[place] = token.to_owned();
        kinds[place] = kind;
        Ok::<(), GgufError>(())
    };
    let vocabulary = tokenizer.pointer("/model/vocab").and_then(Json::as_object);
    let vocabulary =
        vocabulary.ok_or_else(|| GgufError::missing("model.vocab", "a BPE vocabulary"))?;
    for (token, id) in vocabulary {
        put(id, token, NORMAL)?;
    }
    for added in tokenizer.get("added_tokens").and_then(Json::as_array).into_iter().flatten() {
        let content = added.get("content").and_then(Json::as_str).unwrap_or("");
        let special = added.get("special").and_then(Json::as_bool) == Some(true);
        let kind = if special { CONTROL } else { USER_DEFINED };
        put(added.get("id").unwrap_or(&Json::Null), content, kind)?;
    }
    Ok((tokens, kinds))
}
