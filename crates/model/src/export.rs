//! Exports a model directory in Hugging Face layout as a GGUF file.

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

use serde_json::json;

use crate::config::end_tokens;
use crate::json_fields::read_json;
use crate::weights::gguf::{Kind, NewTensor, export};
use crate::weights::{HEAD, Shards, WeightSource};
use crate::{Config, LoadError, Tokenizer};

/// Older files hold these tensors too. They follow from the configuration and are left out.
const ROTARY: &str = ".rotary_emb.inv_freq";

/// Writes a directory's configuration, tokenizer, end tokens and weights as [`export`]
/// does, row by row. `texts` are further metadata.
///
/// # Errors
/// As [`crate::load_model`] and [`export`].
pub fn export_directory(
    dir: &Path,
    kind: Kind,
    texts: &[(&str, &str)],
    out: &mut impl Write,
) -> Result<(), LoadError> {
    let path = dir.join("config.json");
    let mut json = read_json(&path, "a Hugging Face model directory with a config.json")?;
    let config = Config::parse(&path, &json)?;
    let ends = end_tokens(dir, &json)?;
    json["eos_token_id"] = json!(ends);
    let path = dir.join("tokenizer.json");
    Tokenizer::read(&path)?.vocabulary(&ends)?;
    let tokenizer = read_json(&path, "a tokenizer.json")?;
    let shards = Shards::open(dir)?;
    let tensors: Vec<(String, &[usize])> = shards
        .tensors()
        .filter(|(name, _)| !name.ends_with(ROTARY))
        .filter(|(name, _)| !(config.tie_word_embeddings && name == HEAD))
        .collect();
    for (name, shape) in &tensors {
        shards.check(name, shape)?;
    }
    let failed = OnceLock::new();
    let rows: Vec<_> = tensors
        .iter()
        .map(|(name, shape)| {
            let width = shape.last().copied().unwrap_or(1);
            let (shards, failed) = (&shards, &failed);
            move |row: usize, out: &mut [f32]| {
                if let Err(error) = shards.finite_rows(name, row, width, out) {
                    // One error is enough; any of several will do.
                    let _ = failed.set(error);
                    out.fill(0.0);
                }
            }
        })
        .collect();
    let sources: Vec<NewTensor<'_>> = tensors
        .iter()
        .zip(&rows)
        .map(|((name, shape), row)| NewTensor { name, shape, row })
        .collect();
    let written = export(out, &json, &tokenizer, kind, texts, &sources);
    match failed.into_inner() {
        Some(error) => Err(error),
        None => written.map_err(|source| LoadError::Gguf { path: dir.to_owned(), source }),
    }
}
