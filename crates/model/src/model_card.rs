//! A model's configuration and tokenizer, and the identity of its weights. No weight is
//! loaded for them.

use std::path::{Path, PathBuf};

use tokenroute_core::{ModelInfo, Vocabulary};
use tokenroute_kernels::Format;

use crate::config::end_tokens;
use crate::json_fields::read_json;
use crate::load::{check_tokenizers, info, of_directory, of_file};
use crate::weights::gguf::{GgufSource, is_gguf};
use crate::weights::{Shards, WeightSource};
use crate::{Config, Decoder, LoadError, LoadOptions, LoadedModel, Tokenizer};

/// A model without its weights.
#[derive(Debug)]
pub struct ModelCard {
    path: PathBuf,
    /// The shape of the decoder.
    pub config: Config,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    /// The tokens that end answers and sentences.
    pub vocabulary: Vocabulary,
}

impl ModelCard {
    /// Reads the configuration and the tokenizer of a directory or a GGUF file.
    ///
    /// # Errors
    /// As [`crate::load_model`], weights apart.
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        Ok(ModelCard::with_source(path)?.0)
    }

    /// [`ModelCard::read`], and the file if it is GGUF.
    pub(crate) fn with_source(path: &Path) -> Result<(Self, Option<GgufSource>), LoadError> {
        let card = |config, tokenizer, vocabulary| {
            let path = path.to_owned();
            ModelCard { path, config, tokenizer, vocabulary }
        };
        if is_gguf(path) {
            let source = GgufSource::open(path)?;
            let config = source.config()?;
            let tokenizer = Tokenizer::of_gguf(&source)?;
            let vocabulary = tokenizer.vocabulary(&source.end_tokens()?)?;
            return Ok((card(config, tokenizer, vocabulary), Some(source)));
        }
        let config_path = path.join("config.json");
        let expected = "a Hugging Face model directory with a config.json, or a .gguf file";
        let json = read_json(&config_path, expected)?;
        let config = Config::parse(&config_path, &json)?;
        let tokenizer = Tokenizer::of_model(path)?;
        let vocabulary = tokenizer.vocabulary(&end_tokens(path, &json)?)?;
        Ok((card(config, tokenizer, vocabulary), None))
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// As [`crate::load_model`].
    pub fn decoder(&self, options: &LoadOptions) -> Result<Decoder, LoadError> {
        let source = is_gguf(&self.path).then(|| GgufSource::open(&self.path)).transpose()?;
        self.decode(source, options)
    }

    pub(crate) fn decode(
        &self,
        source: Option<GgufSource>,
        options: &LoadOptions,
    ) -> Result<Decoder, LoadError> {
        let (config, vocabulary) = (self.config.clone(), self.tokenizer.size());
        match source {
            Some(source) => of_file(&self.path, source, config, vocabulary, options),
            None => of_directory(&self.path, config, vocabulary, options),
        }
    }

    /// Facts about the model as it will be loaded.
    #[must_use]
    pub fn info(&self, options: &LoadOptions, files_hash: &str) -> ModelInfo {
        info(&self.path, files_hash, &self.config, self.tokenizer.size(), options)
    }

    /// Checks that an LLM shares the tokenizer of this SLM, whose name is given for errors.
    ///
    /// # Errors
    /// As [`crate::check_pair`].
    pub fn check_pair(&self, name: &str, llm: &LoadedModel) -> Result<(), LoadError> {
        check_tokenizers((name, &self.tokenizer), llm)
    }
}

/// The identity of a model's weights before they are quantised, from the SHA-256 of each
/// of their files. `sha256` gives it as 64 hexadecimal digits, and may remember it.
///
/// For one file it is that file's SHA-256. For shards it is the SHA-256 of theirs, in the
/// order of their names.
///
/// # Errors
/// Weights that are missing or damaged at their beginning; the errors of `sha256`.
pub fn files_hash<E: From<LoadError>>(
    path: &Path,
    mut sha256: impl FnMut(&Path) -> Result<String, E>,
) -> Result<String, E> {
    if is_gguf(path) {
        return sha256(path);
    }
    Shards::open(path)?.hash_by(|file| sha256(file.path("")))
}

/// The hash that names weights in routers and manifests: that of their files, and the format
/// that they are quantised to.
#[must_use]
pub fn weights_hash(files_hash: &str, quantize: Option<Format>) -> String {
    match quantize {
        None => files_hash.to_owned(),
        Some(format) => format!("{files_hash}+{format}"),
    }
}
