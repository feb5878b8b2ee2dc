//! From a model directory in Hugging Face layout, or a GGUF file, to something that
//! runs, and whether two of them are a pair.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokenroute_core::{LanguageModel, ModelInfo, Vocabulary};
use tokenroute_kernels::Format;

use crate::config::end_tokens;
use crate::json_fields::read_json;
use crate::weights::gguf::{GgufSource, WeightCache, is_gguf};
use crate::weights::{Q8Embedding, Shards, WeightSource};
use crate::{Config, Decoder, LoadError, RandomModel, Tokenizer};

/// How to load a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Name in messages and records; the path if `None`.
    pub name: Option<String>,
    /// How many of the most probable tokens a step carries.
    pub top_k: usize,
    /// Quantise floats to this; `None` keeps weights as they are stored.
    pub quantize: Option<Format>,
    /// Threads of quantised products; as many as the machine has if `None`.
    pub threads: Option<usize>,
    /// Folder in which a directory's quantised weights are kept, so that they are made
    /// only once; `None` keeps nothing.
    pub cache: Option<PathBuf>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions { name: None, top_k: 8, quantize: None, threads: None, cache: None }
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

/// Loads a model from a directory in Hugging Face layout or from a GGUF file.
///
/// Of a directory, `config.json`, `tokenizer.json`, `generation_config.json` (optional)
/// and `model.safetensors`, whole or in shards (f16, bf16 or f32). A file that ends in
/// `.gguf` holds all of that; a `tokenizer.json` beside it goes before its own.
///
/// The weights' files are mapped for as long as the model lives: replace them by
/// renaming new ones over them, never in place.
///
/// Rows of embedding and LM head beyond the tokenizer's vocabulary are padding and
/// left out: [`ModelInfo::vocabulary`] is what the tokenizer knows.
///
/// # Errors
/// A missing or damaged file, an unsupported configuration, a tensor that is
/// missing, of the wrong shape or not finite, each named; quantised weights that
/// cannot be kept.
pub fn load_model(path: &Path, options: &LoadOptions) -> Result<LoadedModel, LoadError> {
    if is_gguf(path) {
        let source = GgufSource::open(path)?;
        let config = source.config()?;
        let tokenizer = Tokenizer::of_gguf(&source)?;
        let vocabulary = tokenizer.vocabulary(&source.end_tokens()?)?;
        let decoder = of_file(path, source, config, tokenizer.size(), options)?;
        return Ok(LoadedModel { decoder, tokenizer, vocabulary });
    }
    let config_path = path.join("config.json");
    let expected = "a Hugging Face model directory with a config.json, or a .gguf file";
    let json = read_json(&config_path, expected)?;
    let config = Config::parse(&config_path, &json)?;
    let tokenizer = Tokenizer::of_model(path)?;
    let vocabulary = tokenizer.vocabulary(&end_tokens(path, &json)?)?;
    let decoder = of_directory(path, config, tokenizer.size(), options)?;
    Ok(LoadedModel { decoder, tokenizer, vocabulary })
}

/// Loads only the decoder of a directory or a GGUF file, for callers that bring ids of
/// their own (measurements, comparisons): no tokenizer is needed, and every row of the
/// embedding counts as a token.
///
/// # Errors
/// As [`load_model`].
pub fn load_decoder(path: &Path, options: &LoadOptions) -> Result<Decoder, LoadError> {
    if is_gguf(path) {
        let source = GgufSource::open(path)?;
        let config = source.config()?;
        let vocabulary = config.vocab_size;
        return of_file(path, source, config, vocabulary, options);
    }
    let config = Config::read(&path.join("config.json"))?;
    let vocabulary = config.vocab_size;
    of_directory(path, config, vocabulary, options)
}

impl RandomModel {
    /// The decoder. Its weights are made as they are read; nothing is written.
    ///
    /// # Errors
    /// As [`load_decoder`].
    pub fn decoder(self, options: &LoadOptions) -> Result<Decoder, LoadError> {
        let config = self.shape().clone();
        let path = self.path("");
        let info = ModelInfo {
            name: options.name.clone().unwrap_or_else(|| path.display().to_string()),
            weights_hash: self.hash(),
            hidden: config.hidden_size,
            vocabulary: config.vocab_size,
            context: config.max_position_embeddings,
            top_k: options.top_k,
        };
        let weights: Arc<dyn WeightSource> = match options.quantize {
            None => Arc::new(self),
            Some(_) => Arc::new(Q8Embedding(self)),
        };
        Decoder::new(info, config, &weights, options.quantize, options.threads)
    }
}

fn of_file(
    path: &Path,
    source: GgufSource,
    config: Config,
    vocabulary: usize,
    options: &LoadOptions,
) -> Result<Decoder, LoadError> {
    check_vocabulary(path, &config, vocabulary)?;
    let info = info(path, source.hash(), &config, vocabulary, options);
    let source = Arc::new(source);
    let weights: Arc<dyn WeightSource> = source.clone();
    let decoder = Decoder::new(info, config, &weights, options.quantize, options.threads)?;
    source.check_all_used()?;
    Ok(decoder)
}

fn of_directory(
    dir: &Path,
    config: Config,
    vocabulary: usize,
    options: &LoadOptions,
) -> Result<Decoder, LoadError> {
    check_vocabulary(&dir.join("config.json"), &config, vocabulary)?;
    let shards = Shards::open(dir)?;
    let hash = shards.hash();
    let info = info(dir, hash.clone(), &config, vocabulary, options);
    let build = |config: Config, weights: Arc<dyn WeightSource>| {
        Decoder::new(info, config, &weights, options.quantize, options.threads)
    };
    let Some(format) = options.quantize else { return build(config, Arc::new(shards)) };
    let tensors: Vec<_> = shards.tensors().map(|(name, shape)| (name, shape.to_vec())).collect();
    let weights = Arc::new(Q8Embedding(shards));
    let Some(folder) = &options.cache else { return build(config, weights) };
    let kept = WeightCache::new(folder, &hash, format, &config, &*weights, tensors)?;
    if let Some(found) = kept.open() {
        return build(config.clone(), Arc::new(found));
    }
    // First the decoder, which finds what is wrong with the weights.
    let decoder = build(config.clone(), weights.clone())?;
    kept.write()?;
    Ok(decoder)
}

fn check_vocabulary(path: &Path, config: &Config, vocabulary: usize) -> Result<(), LoadError> {
    if vocabulary <= config.vocab_size {
        return Ok(());
    }
    Err(LoadError::Config {
        path: path.to_owned(),
        field: "vocab_size".to_owned(),
        value: config.vocab_size.to_string(),
        expected: format!("at least the tokenizer's {vocabulary}"),
    })
}

fn info(
    path: &Path,
    hash: String,
    config: &Config,
    vocabulary: usize,
    options: &LoadOptions,
) -> ModelInfo {
    ModelInfo {
        name: options.name.clone().unwrap_or_else(|| path.display().to_string()),
        weights_hash: identity(hash, options.quantize),
        hidden: config.hidden_size,
        vocabulary,
        context: config.max_position_embeddings,
        top_k: options.top_k,
    }
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
pub fn check_pair(slm: &LoadedModel, llm: &LoadedModel) -> Result<(), LoadError> {
    match slm.tokenizer.difference(&llm.tokenizer) {
        None => Ok(()),
        Some(part) => Err(LoadError::PairMismatch {
            slm: slm.decoder.info().name.clone(),
            llm: llm.decoder.info().name.clone(),
            part,
        }),
    }
}
