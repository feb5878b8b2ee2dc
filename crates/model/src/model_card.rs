//! A model's configuration and tokenizer, and the identity of its weights. No weight is
//! loaded for them.

use std::path::{Path, PathBuf};

use tokenroute_core::{ModelInfo, Vocabulary};

use crate::hash::{sha256 as sha256_of, sha256_of_file};
use crate::load::{check_tokenizers, decode, info};
use crate::model_files::ModelFiles;
use crate::weights::gguf::{self, is_gguf};
use crate::weights::{EMBEDDING, Shards, WeightSource};
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
        let files = ModelFiles::open(path)?;
        let (tokenizer, vocabulary) = files.text(|_| ())?;
        Ok(ModelCard { path: path.to_owned(), config: files.config, tokenizer, vocabulary })
    }

    /// Loads the weights.
    ///
    /// # Errors
    /// As [`crate::load_model`].
    pub fn decoder(&self, options: &LoadOptions) -> Result<Decoder, LoadError> {
        options.check()?;
        let files = ModelFiles::open(&self.path)?;
        decode(&files, options, || Ok(self.tokenizer.size()), &sha256_of_file)
    }

    /// The embeddings of its tokens `[vocabulary, hidden]`.
    ///
    /// # Errors
    /// Weights that are missing, damaged or not finite.
    pub fn token_embedding(&self) -> Result<Vec<f32>, LoadError> {
        let shape = [self.config.vocab_size, self.config.hidden_size];
        match ModelFiles::open(&self.path)?.gguf {
            Some(source) => source.tensor(EMBEDDING, &shape),
            None => Shards::open(&self.path)?.tensor(EMBEDDING, &shape),
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
/// For one file it is that file's SHA-256. For shards it is the SHA-256 of theirs, in the order of
/// their names; for the parts of a GGUF model that of their hexadecimal digits.
///
/// # Errors
/// Weights that are missing or damaged at their beginning; the errors of `sha256`.
pub fn files_hash<E: From<LoadError>>(
    path: &Path,
    mut sha256: impl FnMut(&Path) -> Result<String, E>,
) -> Result<String, E> {
    if is_gguf(path) {
        let files = gguf::files(path)
            .map_err(|source| LoadError::Gguf { path: path.to_owned(), source })?;
        let hashes: Result<Vec<String>, E> = files.iter().map(|file| sha256(file)).collect();
        let hashes = hashes?;
        return Ok(if let [hash] = &hashes[..] {
            hash.clone()
        } else {
            sha256_of(hashes.concat())
        });
    }
    Shards::open(path)?.hash_by(|file| sha256(file.path("")))
}

/// The hash that names the weights of a model in routers and manifests: that of their files, the
/// format that they are quantised to, the numbers that a device holds them in, and the type of
/// the KV cache, since a model's steps depend on all of these. What is usual adds nothing: f32 of
/// floats, on the kernels or on another device, and a KV cache in f32.
#[must_use]
pub fn weights_hash(path: &Path, files_hash: &str, options: &LoadOptions) -> String {
    let weights = match options.quantize {
        None => files_hash.to_owned(),
        Some(format) => format!("{files_hash}+{format}"),
    };
    options.kv.identify(options.device.identify(weights, is_gguf(path)))
}
