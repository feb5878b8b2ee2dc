//! The files of a model: its configuration, and where the rest is read from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokenroute_core::Vocabulary;

use crate::config::end_tokens;
use crate::json_fields::read_json;
use crate::weights::gguf::{GgufSource, is_gguf};
use crate::{Config, LoadError, Tokenizer};

/// A directory or a GGUF file whose configuration has been read.
#[derive(Debug)]
pub(crate) struct ModelFiles {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    /// The file, if it is GGUF.
    pub(crate) gguf: Option<Arc<GgufSource>>,
    /// The `config.json` of a directory.
    json: Value,
}

impl ModelFiles {
    /// Reads the configuration of a directory or a GGUF file.
    ///
    /// # Errors
    /// A path that is neither; an unsupported configuration.
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let path = path.to_owned();
        if is_gguf(&path) {
            let source = GgufSource::open(&path)?;
            let config = source.config()?;
            return Ok(ModelFiles {
                path,
                config,
                gguf: Some(Arc::new(source)),
                json: Value::Null,
            });
        }
        let config_path = path.join("config.json");
        let expected = "a Hugging Face model directory with a config.json, or a .gguf file";
        let json = read_json(&config_path, expected)?;
        let config = Config::parse(&config_path, &json)?;
        Ok(ModelFiles { path, config, gguf: None, json })
    }

    /// The file that holds the configuration.
    pub(crate) fn config_path(&self) -> PathBuf {
        if self.gguf.is_some() { self.path.clone() } else { self.path.join("config.json") }
    }

    /// Makes the tokenizer and the vocabulary. `sized` gets the number of token ids as soon as it
    /// is known.
    ///
    /// # Errors
    /// A tokenizer or end tokens that are missing or damaged.
    pub(crate) fn text(
        &self,
        sized: impl FnOnce(usize),
    ) -> Result<(Tokenizer, Vocabulary), LoadError> {
        let (tokenizer, ends) = match &self.gguf {
            Some(file) => (Tokenizer::of_gguf(file, sized)?, file.end_tokens()?),
            None => {
                let tokenizer = Tokenizer::of_model(&self.path)?;
                sized(tokenizer.size());
                (tokenizer, end_tokens(&self.path, &self.json)?)
            }
        };
        let vocabulary = tokenizer.vocabulary(&ends)?;
        Ok((tokenizer, vocabulary))
    }
}
