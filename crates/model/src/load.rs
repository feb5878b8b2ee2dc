//! Loads a model from a directory in Hugging Face layout or from a GGUF file, and checks
//! that two models are a pair.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, Scope, ScopedJoinHandle};

use tokenroute_core::{LanguageModel, ModelInfo, Vocabulary};
use tokenroute_kernels::{Format, KernelError};

use crate::hash::sha256_of_file;
use crate::model_files::ModelFiles;
use crate::weights::gguf::WeightCache;
use crate::weights::{Q8Embedding, Shards, WeightSource};
use crate::{
    Config, Decoder, Device, KvType, LoadError, RandomModel, Tokenizer, files_hash, weights_hash,
};

/// How to load a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    /// Name in messages and records; `None` is the path.
    pub name: Option<String>,
    /// Number of most probable tokens in a step.
    pub top_k: usize,
    /// Format that floats are quantised to; `None` keeps weights as they are stored.
    pub quantize: Option<Format>,
    /// How keys and values are stored.
    pub kv: KvType,
    /// Where the decoder runs. A device of candle takes neither `quantize` nor another `kv` than
    /// f32, and has threads of its own.
    pub device: Device,
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
            kv: KvType::F32,
            device: Device::Kernels,
            threads: None,
            files_hash: None,
            cache: None,
        }
    }
}

impl LoadOptions {
    /// Refuses a device that this program lacks, and what it cannot hold.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        self.device.check(self.quantize, self.kv)
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
/// A device that this program lacks, before anything is read. A missing or damaged file, an
/// unsupported configuration, a tensor that is missing, of the wrong shape or not finite; each is
/// named. Quantised weights that cannot be written.
pub fn load_model(path: &Path, options: &LoadOptions) -> Result<LoadedModel, LoadError> {
    load_model_hashed(path, options, &sha256_of_file)
}

/// [`load_model`] with hashes of files that the caller may remember. While matrices are
/// packed, one thread makes the tokenizer and one asks for the hashes. The LM head is packed once the
/// number of tokens is known, which is before the tokenizer is made.
///
/// # Errors
/// As [`load_model`], and those of `sha256`.
pub fn load_model_hashed(
    path: &Path,
    options: &LoadOptions,
    sha256: Sha256Of<'_>,
) -> Result<LoadedModel, LoadError> {
    options.check()?;
    start_threads()?;
    let files = ModelFiles::open(path)?;
    thread::scope(|scope| {
        let (announce, announced) = mpsc::channel();
        let text = || {
            // Nobody listens once loading has failed.
            files.text(move |size| announce.send(size).unwrap_or_default())
        };
        let mut text = Some(beside(scope, text)?);
        let finish = |text: Option<_>| text.map_or_else(|| files.text(|_| ()), joined);
        let mut made = None;
        let vocabulary = || match announced.recv() {
            Ok(size) => Ok(size),
            // It has ended without a size, so with an error.
            Err(_) => Ok(made.insert(finish(text.take())?).0.size()),
        };
        let decoder = decode(&files, options, vocabulary, sha256)?;
        let (tokenizer, vocabulary) = made.map_or_else(|| finish(text), Ok)?;
        Ok(LoadedModel { decoder, tokenizer, vocabulary })
    })
}

/// Loads only the decoder of a directory or a GGUF file, for callers that feed token ids
/// (measurements, comparisons). It needs no tokenizer; every row of the embedding counts
/// as a token.
///
/// # Errors
/// As [`load_model`].
pub fn load_decoder(path: &Path, options: &LoadOptions) -> Result<Decoder, LoadError> {
    load_decoder_hashed(path, options, &sha256_of_file)
}

/// [`load_decoder`] with hashes of files that the caller may remember.
///
/// # Errors
/// As [`load_decoder`], and those of `sha256`.
pub fn load_decoder_hashed(
    path: &Path,
    options: &LoadOptions,
    sha256: Sha256Of<'_>,
) -> Result<Decoder, LoadError> {
    options.check()?;
    start_threads()?;
    let files = ModelFiles::open(path)?;
    decode(&files, options, || Ok(files.config.vocab_size), sha256)
}

/// Gives the SHA-256 of a file as 64 hexadecimal digits. It may remember it.
pub type Sha256Of<'a> = &'a (dyn Fn(&Path) -> io::Result<String> + Sync);

impl RandomModel {
    /// The decoder. Its weights are made as they are read; nothing is written.
    ///
    /// # Errors
    /// As [`load_decoder`].
    pub fn decoder(self, options: &LoadOptions) -> Result<Decoder, LoadError> {
        options.check()?;
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
        Decoder::new(|| Ok(info), config, &weights, options)
    }
}

/// Loads the weights. `vocabulary` gives the number of tokens once the layers are packed.
pub(crate) fn decode(
    files: &ModelFiles,
    options: &LoadOptions,
    vocabulary: impl FnOnce() -> Result<usize, LoadError>,
    sha256: Sha256Of<'_>,
) -> Result<Decoder, LoadError> {
    let ModelFiles { path, config, .. } = files;
    let info = || {
        let vocabulary = vocabulary()?;
        check_vocabulary(&files.config_path(), config, vocabulary)?;
        Ok(info(path, "", config, vocabulary, options))
    };
    let build =
        |weights: Arc<dyn WeightSource>| Decoder::new(info, config.clone(), &weights, options);
    let hash = || match &options.files_hash {
        Some(known) => Ok(known.clone()),
        None => files_hash(path, |file| sha256(file).map_err(|error| unread(file, error))),
    };
    if let Some(source) = &files.gguf {
        let decoder = hashed(path, options, hash, || build(source.clone()))?;
        source.check_all_used()?;
        return Ok(decoder);
    }
    let shards = Shards::open(path)?;
    let Some(format) = options.quantize else {
        return hashed(path, options, hash, || build(Arc::new(shards)));
    };
    let tensors: Vec<_> = shards.tensors().map(|(name, shape)| (name, shape.to_vec())).collect();
    let weights = Arc::new(Q8Embedding(shards));
    let Some(folder) = &options.cache else {
        return hashed(path, options, hash, || build(weights));
    };
    // The hash names the file that keeps the quantised weights.
    let hash = hash()?;
    let cache = WeightCache::new(folder, &hash, format, config, &*weights, tensors)?;
    let hash = || Ok(hash);
    if let Some(found) = cache.open() {
        return hashed(path, options, hash, || build(Arc::new(found)));
    }
    // The decoder comes first, since building it checks the weights.
    let decoder = hashed(path, options, hash, || build(weights.clone()))?;
    cache.write()?;
    Ok(decoder)
}

/// Builds a decoder while another thread takes the hash of its files.
fn hashed(
    path: &Path,
    options: &LoadOptions,
    hash: impl FnOnce() -> Result<String, LoadError> + Send,
    build: impl FnOnce() -> Result<Decoder, LoadError>,
) -> Result<Decoder, LoadError> {
    thread::scope(|scope| {
        let hash = beside(scope, hash)?;
        let decoder = build()?;
        Ok(decoder.named(weights_hash(path, &joined(hash)?, options)))
    })
}

/// Starts rayon's threads. If the system refused one at their first use, rayon would panic.
pub(crate) fn start_threads() -> Result<(), LoadError> {
    let refused = rayon::ThreadPoolBuilder::new().build_global().err();
    // The threads may run already, which is an error without a cause.
    let cause = refused.as_ref().and_then(|error| error.source()?.downcast_ref::<io::Error>());
    cause.map_or(Ok(()), |cause| Err(no_thread(io::Error::new(cause.kind(), cause.to_string()))))
}

/// Starts a thread within a scope.
fn beside<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    work: impl FnOnce() -> T + Send + 's,
) -> Result<ScopedJoinHandle<'s, T>, LoadError> {
    thread::Builder::new().spawn_scoped(scope, work).map_err(no_thread)
}

fn no_thread(source: io::Error) -> LoadError {
    KernelError::System { what: "a thread", source }.into()
}

/// The result of a thread. Its panic goes on here.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn unread(path: &Path, source: io::Error) -> LoadError {
    LoadError::Read { path: path.to_owned(), expected: "the model's weights", source }
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
        weights_hash: weights_hash(path, hash, options),
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
