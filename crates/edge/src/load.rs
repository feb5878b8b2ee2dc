//! From a model directory in Hugging Face layout to something that runs, and
//! whether two of them are a pair.

use std::path::Path;
use std::sync::Arc;

use tokenroute_core::{ModelInfo, Vocabulary};
use tokenroute_kernels::Format;

use crate::config_json::end_tokens;
use crate::fields::read_json;
use crate::shards::Shards;
use crate::weights::WeightSource;
use crate::{Config, Decoder, EdgeError, Tokenizer};

/// How to load a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Name in messages and records; the directory if `None`.
    pub name: Option<String>,
    /// How many of the most probable tokens a step carries.
    pub top_k: usize,
    /// Quantise floats to this; `None` keeps weights as they are stored.
    pub quantize: Option<Format>,
    /// Threads of quantised products; as many as the machine has if `None`.
    pub threads: Option<usize>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { name: None, top_k: 8, quantize: None, threads: None }
    }
}

/// A model with its tokenizer.
#[derive(Debug)]
pub struct LoadedModel {
    /// Runs tokens.
    pub decoder: Decoder,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// Where answers and sentences end.
    pub vocabulary: Vocabulary,
}

/// Loads `config.json`, `tokenizer.json`, `generation_config.json` (optional) and
/// `model.safetensors`, whole or in shards (f16, bf16 or f32), from a directory.
///
/// The weights' files are mapped for as long as the model lives: replace them by
/// renaming new ones over them, never in place.
///
/// Rows of embedding and LM head beyond the tokenizer's vocabulary are padding and
/// left out: [`ModelInfo::vocabulary`] is what the tokenizer knows.
///
/// # Errors
/// A missing or damaged file, an unsupported configuration, a tensor that is
/// missing, of the wrong shape or not finite, each named.
pub fn load_model(dir: &Path, options: &LoadOptions) -> Result<LoadedModel, EdgeError> {
    let config_path = dir.join("config.json");
    let json = read_json(&config_path, "a Hugging Face model directory with a config.json")?;
    let config = Config::parse(&config_path, &json)?;
    let tokenizer = Tokenizer::read(&dir.join("tokenizer.json"))?;
    let vocabulary = tokenizer.vocabulary(&end_tokens(dir, &json)?)?;
    let decoder = decoder(dir, config, tokenizer.size(), options)?;
    Ok(LoadedModel { decoder, tokenizer, vocabulary })
}

/// Loads only the decoder of a directory, for callers that bring ids of their own
/// (measurements, comparisons): no tokenizer is needed, and every row of the
/// embedding counts as a token.
///
/// # Errors
/// As [`load_model`].
pub fn load_decoder(dir: &Path, options: &LoadOptions) -> Result<Decoder, EdgeError> {
    let config = Config::read(&dir.join("config.json"))?;
    let vocabulary = config.vocab_size;
    decoder(dir, config, vocabulary, options)
}

fn decoder(
    dir: &Path,
    config: Config,
    vocabulary: usize,
    options: &LoadOptions,
) -> Result<Decoder, EdgeError> {
    if vocabulary > config.vocab_size {
        return Err(EdgeError::Config {
            path: dir.join("config.json"),
            field: "vocab_size".to_owned(),
            value: config.vocab_size.to_string(),
            expected: format!("at least the tokenizer's {vocabulary}"),
        });
    }
    let shards = Shards::open(dir)?;
    let info = ModelInfo {
        name: options.name.clone().unwrap_or_else(|| dir.display().to_string()),
        weights_hash: identity(shards.hash(), options.quantize),
        hidden: config.hidden_size,
        vocabulary,
        context: config.max_position_embeddings,
        top_k: options.top_k,
    };
    let source: Arc<dyn WeightSource> = Arc::new(shards);
    Decoder::new(info, config, &source, options.quantize, options.threads)
}

/// What a router is trained for: the weights' hash and how they were quantised.
fn identity(hash: String, quantize: Option<Format>) -> String {
    match quantize {
        None => hash,
        Some(format) => format!("{hash}+{format}"),
    }
}

/// Checks that two models share a tokenizer.
///
/// # Errors
/// Names both models and what differs first: vocabularies, merges, added tokens
/// or pre-tokenizers.
pub fn check_pair(slm: &LoadedModel, llm: &LoadedModel) -> Result<(), EdgeError> {
    match slm.tokenizer.difference(&llm.tokenizer) {
        None => Ok(()),
        Some(part) => Err(EdgeError::PairMismatch {
            slm: slm.decoder.info.name.clone(),
            llm: llm.decoder.info.name.clone(),
            part,
        }),
    }
}
