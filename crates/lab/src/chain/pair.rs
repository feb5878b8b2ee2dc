//! The pair of an experiment: identified by hashes at once, loaded when a stage decodes.

use std::path::Path;

use anyhow::Result;
use tokenroute_core::{CommonPrefix, ModelError, ModelInfo, Progress, TokenId};
use tokenroute_hub::reference;
use tokenroute_label::PairHashes;
use tokenroute_llm::http::HttpConfig;
use tokenroute_model::{
    Decoder, Device, Format, LoadOptions, ModelCard, cache_folder, files_hash, weights_hash,
};
use tokenroute_store::{self as store, FileHash};

use super::experiment_llm::{ExperimentLlm, NamedServer, not_here};
use crate::experiment::Experiment;

/// Both models, loaded.
pub struct LoadedPair {
    /// The small model.
    pub slm: CommonPrefix<Decoder>,
    /// The large model.
    pub llm: ExperimentLlm,
}

impl LoadedPair {
    /// Reads the beginning of all prompts with the models that run here.
    pub(super) fn read(&self, prefix: &[TokenId]) -> Result<(), ModelError> {
        self.slm.read(prefix)?;
        match &self.llm {
            ExperimentLlm::Here(llm) => llm.read(prefix),
            // Its prompts are others: `OtherTokenizer::announce` reads what they share.
            ExperimentLlm::Other(_) | ExperimentLlm::There(_) => Ok(()),
        }
    }
}

/// The pair before it is loaded. Its hashes are those of the files' bytes.
pub(super) struct NamedPair {
    /// Configuration and tokenizer of the SLM.
    pub(super) slm: ModelCard,
    /// Options to load the SLM.
    pub(super) info: ModelInfo,
    slm_options: LoadOptions,
    llm: NamedLlm,
}

enum NamedLlm {
    /// In process.
    Here { options: LoadOptions, hash: String },
    /// On a server.
    There { server: Box<NamedServer>, hash: String },
}

impl NamedPair {
    /// Reads configurations and hashes, but no weights.
    pub(super) fn read(
        experiment: &Experiment,
        hashes: &dyn FileHash,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let section = &experiment.pair;
        let path = experiment.source(&section.slm, progress)?;
        let mut slm = ModelCard::read(&path)?;
        if let Some(separator) = experiment.data.prompt.answer_separator() {
            slm.vocabulary = slm.tokenizer.separated(slm.vocabulary, separator)?;
        }
        let files = files_hash(&path, |file| anyhow::Ok(hashes.sha256(file)?))?;
        let held = (section.slm_quantize, section.slm_device);
        let slm_options = load_options(experiment, &section.slm, held, &files);
        let info = slm.info(&slm_options, &files);
        let llm = if HttpConfig::url_of(&section.llm).is_some() {
            let server = NamedServer::find(experiment, &slm, progress)?;
            // Only its name identifies it.
            let identity = server.identity(experiment, &slm)?;
            let hash = store::sha256(identity.as_bytes());
            NamedLlm::There { server: Box::new(server), hash }
        } else {
            let path = experiment.source(&section.llm, progress)?;
            let files = files_hash(&path, |file| anyhow::Ok(hashes.sha256(file)?))
                .map_err(|error| not_here(&section.llm, error))?;
            let held = (section.llm_quantize, section.llm_device);
            let options = load_options(experiment, &section.llm, held, &files);
            let hash = weights_hash(&path, &files, &options);
            NamedLlm::Here { options, hash }
        };
        Ok(NamedPair { slm, info, slm_options, llm })
    }

    /// The pair's identity in manifests and routers.
    pub(super) fn hashes(&self) -> PairHashes<'_> {
        let (NamedLlm::Here { hash, .. } | NamedLlm::There { hash, .. }) = &self.llm;
        PairHashes {
            slm: &self.info.weights_hash,
            llm: hash,
            tokenizer: self.slm.vocabulary.hash(),
        }
    }

    /// Loads both models. The answers of an LLM on a server are
    /// kept in `folder`.
    pub(super) fn load(
        &self,
        experiment: &Experiment,
        folder: &Path,
        progress: &dyn Progress,
    ) -> Result<LoadedPair> {
        let slm = CommonPrefix::new(self.slm.decoder(&self.slm_options)?);
        let llm = match &self.llm {
            NamedLlm::Here { options, .. } => {
                let small = (&self.slm, self.info.name.as_str(), slm.model());
                ExperimentLlm::here(experiment, small, options, progress)?
            }
            NamedLlm::There { server, .. } => {
                let small = (&self.slm, slm.model());
                let llm = ExperimentLlm::there(experiment, server, folder, small, progress)?;
                llm.check_probabilities(experiment, self.slm.vocabulary.end())?;
                llm
            }
        };
        Ok(LoadedPair { slm, llm })
    }
}

/// Options to load a model of the experiment whose files have this hash, in a format and on a
/// device.
fn load_options(
    experiment: &Experiment,
    named: &Path,
    (quantize, device): (Option<Format>, Option<Device>),
    files_hash: &str,
) -> LoadOptions {
    LoadOptions {
        name: reference(named).map(str::to_owned),
        top_k: experiment.train.top_k.max(8).max(experiment.top),
        quantize,
        kv: experiment.pair.kv.unwrap_or_default(),
        device: device.unwrap_or_default(),
        files_hash: Some(files_hash.to_owned()),
        cache: cache_folder(),
        ..LoadOptions::default()
    }
}
