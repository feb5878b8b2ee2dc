//! Writes and reads the trained decoder as a Hugging Face directory. The tokenizer module handles
//! `tokenizer.json`.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use serde_json::json;

use crate::config::ModelConfig;
use crate::error::PairError;
use crate::files::{self, Precision};
use crate::model::Qwen2;

/// Writes `config.json`, `generation_config.json` and `model.safetensors` (f16) into `directory`.
///
/// # Errors
/// [`PairError::Io`] or [`PairError::Format`] with the file.
pub fn export(model: &Qwen2, directory: &Path) -> Result<(), PairError> {
    fs::create_dir_all(directory).map_err(PairError::io(directory))?;
    let config = ModelConfig { torch_dtype: "float16".to_owned(), ..model.config().clone() };
    let mut generation = json!({
        "do_sample": false,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.eos_token_id,
    });
    if let Some(bos) = config.bos_token_id {
        generation["bos_token_id"] = bos.into();
    }
    let weights = directory.join("model.safetensors");
    files::write_weights(&weights, &model.named_parameters(), Precision::F16)?;
    files::write_json(&directory.join("generation_config.json"), &generation)?;
    files::write_json(&directory.join("config.json"), &config)
}

/// Reads a directory of [`export`].
///
/// # Errors
/// [`PairError`] with the file or tensor that is missing or does not fit.
pub fn load(directory: &Path, device: &Device) -> Result<Qwen2, PairError> {
    let config: ModelConfig = files::read_json(&directory.join("config.json"))?;
    files::read_weights(&directory.join("model.safetensors"), &config, device)
}
