//! Loads a model from a directory in Hugging Face layout or from a GGUF file, and checks
//! that two models are a pair.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokenroute_core::{LanguageModel, ModelInfo, Vocabulary};
use tokenroute_kernels::Format;

use crate::weights::gguf::{GgufSource, WeightCache, is_gguf};
use crate::weights::{Q8Embedding, Shards, WeightSource};
use crate::{Config, Decoder, LoadError, ModelCard, RandomModel, Tokenizer, weights_hash};

/// How to load a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Name in messages and records; `None` is the path.
    pub name: Option<String>,
    /// Number of most probable tokens in a step.
    pub top_k: usize,
    /// Format that floats are quantised to; `None` keeps weights as they are stored.
    pub quantize: Option<Format>,
    /// Threads of quantised products; `None` is all of the machine's.
    pub threads: Option<usize>,
    /// The weights' [`files_hash`](crate::files_hash), if it is known; `None` reads the files
    /// for it.
    pub files_hash: Option<String>,
    /// Folder that keeps a directory's quantised weights for the next load; `None` keeps
    /// none.
    pub cache: Option<PathBuf>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            name: None,
            top_k: 8,
            quantize: None,
            threads: None,
            files_hash: None,
            cache: None,
        }
    }
}

/// A model with its tokenizer.
#[derive(Debug)]
pub struct LoadedModel {
    /// The model itself.
    pub decoder: Decoder,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// The tokens that end answers and sentences.
    pub vocabulary: Vocabulary,
}

/// Loads a model from a directory in Hugging Face layout or from a GGUF file.
///
/// A directory holds `config.json`, `tokenizer.json`, `generation_config.json` (optional)
/// and `model.safetensors`, whole or in shards (f16, bf16 or f32). A file that ends in
/// `.gguf` holds all of these. A `tokenizer.json` beside it takes precedence over its own.
///
/// The weights' files are mapped as long as the model lives. Replace them by renaming new
/// files over them, never in place.
///
/// Rows of embedding and LM head beyond the tokenizer's vocabulary are padding and are left
/// out: [`ModelInfo::vocabulary`] is the tokenizer's.
///
/// # Errors
/// A missing or damaged file, an unsupported configuration, a tensor that is missing, of
/// the wrong shape or not finite; each is named. Quantised weights that cannot be written.
pub fn load_model(path: &Path, options: &LoadOptions) -> Result<LoadedModel, LoadError> {
    let (card, source) = ModelCard::with_source(path)?;
    let decoder = card.decode(source, options)?;
    let ModelCard { tokenizer, vocabulary, .. } = card;
    Ok(LoadedModel { decoder, tokenizer, vocabulary })
}

/// Loads only the decoder of a directory or a GGUF file, for callers that feed token ids
/// (measurements, comparisons). It needs no tokenizer; every row of the embedding counts
/// as a token.
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

pub(crate) fn of_file(
    path: &Path,
    source: GgufSource,
    config: Config,
    vocabulary: usize,
    options: &LoadOptions,
) -> Result<Decoder, LoadError> {
    check_vocabulary(path, &config, vocabulary)?;
    let hash = options.files_hash.clone().unwrap_or_else(|| source.hash());
    let info = info(path, &hash, &config, vocabulary, options);
    let source = Arc::new(source);
    let weights: Arc<dyn WeightSource> = source.clone();
    let decoder = Decoder::new(info, config, &weights, options.quantize, options.threads)?;
    source.check_all_used()?;
    Ok(decoder)
}

pub(crate) fn of_directory(
    dir: &Path,
    config: Config,
    vocabulary: usize,
    options: &LoadOptions,
) -> Result<Decoder, LoadError> {
    check_vocabulary(&dir.join("config.json"), &config, vocabulary)?;
    let shards = Shards::open(dir)?;
    let hash = options.files_hash.clone().map_or_else(|| shards.hash(), Ok)?;
    let info = info(dir, &hash, &config, vocabulary, options);
    let build = |config: Config, weights: Arc<dyn WeightSource>| {
        Decoder::new(info, config, &weights, options.quantize, options.threads)
    };
    let Some(format) = options.quantize else { return build(config, Arc::new(shards)) };
    let tensors: Vec<_> = shards.tensors().map(|(name, shape)| (name, shape.to_vec())).collect();
    let weights = Arc::new(Q8Embedding(shards));
    let Some(folder) = &options.cache else { return build(config, weights) };
    let cache = WeightCache::new(folder, &hash, format, &config, &*weights, tensors)?;
    if let Some(found) = cache.open() {
        return build(config.clone(), Arc::new(found));
    }
    // The decoder comes first, since building it checks the weights.
    let decoder = build(config.clone(), weights.clone())?;
    cache.write()?;
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

pub(crate) fn info(
    path: &Path,
    hash: &str,
    config: &Config,
    vocabulary: usize,
    options: &LoadOptions,
) -> ModelInfo {
    ModelInfo {
        name: options.name.clone().unwrap_or_else(|| path.display().to_string()),
        weights_hash: weights_hash(hash, options.quantize),
        hidden: config.hidden_size,
        vocabulary,
        context: config.max_position_embeddings,
        top_k: options.top_k,
    }
}

/// Checks that two models share a tokenizer.
///
/// # Errors
/// Names both models and the first difference: vocabularies, merges, added tokens or
/// pre-tokenizers.
pub fn check_pair(slm: &LoadedModel, llm: &LoadedModel) -> Result<(), LoadError> {
    check_tokenizers((&slm.decoder.info().name, &slm.tokenizer), llm)
}

/// As [`check_pair`], with the SLM's name and tokenizer.
pub(crate) fn check_tokenizers(
    (slm, tokenizer): (&str, &Tokenizer),
    llm: &LoadedModel,
) -> Result<(), LoadError> {
    match tokenizer.difference(&llm.tokenizer) {
        None => Ok(()),
        Some(part) => Err(LoadError::PairMismatch {
            slm: slm.to_owned(),
            llm: llm.decoder.info().name.clone(),
            part,
        }),
    }
}
