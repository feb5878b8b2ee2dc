//! The LLM of an experiment: loaded here, or behind a URL.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokenroute_core::{LanguageModel, Llm, Progress};
use tokenroute_llm::http::{Answers, Http, HttpConfig, Spelling, identity};
use tokenroute_llm::{ApiKey, CLOUD_KEY, InProcess, Metered, Patient};
use tokenroute_model::{Decoder, LoadedModel, check_pair, load_model};
use tokenroute_store as store;

use super::load_options;
use crate::experiment::Experiment;
use crate::llm_usage::LlmUsage;

/// Where the answers of an LLM behind a URL are kept, under `run/`: whatever asks next,
/// another router's sweep too, pays for new prefixes alone.
const ANSWERS: &str = "llm-answers.redb";

/// Longest time for one call. Nobody waits at the other end.
const CALL: Duration = Duration::from_secs(60);

/// How long a server that is away is asked again before the stage gives up; it resumes.
const PATIENCE: Duration = Duration::from_secs(120);

/// Most calls to a server at once.
const CONNECTIONS: usize = 16;

/// Prompts kept at least.
const PROMPTS: usize = 1024;

/// The LLM of an experiment.
pub enum ExperimentLlm {
    /// In process.
    Here(Box<Decoder>),
    /// On a server.
    There {
        /// What is asked.
        llm: Box<Patient<Answers<Http>>>,
        /// A hash over its name: all that distinguishes it from another model.
        hash: String,
    },
}

/// Why an LLM could not be loaded here, with a hint where its name reads like a server's.
fn not_here(llm: &Path, error: anyhow::Error) -> anyhow::Error {
    if HttpConfig::lacks_scheme(llm) {
        let name = llm.display();
        return error.context(format!(
            "pair.llm is {name}; a server's URL begins with http:// or https://"
        ));
    }
    error
}

impl ExperimentLlm {
    /// Opens the experiment's LLM, which must go with its SLM.
    pub fn open(
        experiment: &Experiment,
        slm: &LoadedModel,
        top_k: usize,
        progress: &dyn Progress,
    ) -> Result<ExperimentLlm> {
        let section = &experiment.pair;
        if let Some(url) = HttpConfig::url_of(&section.llm) {
            ensure!(
                section.llm_quantize.is_none(),
                "pair.llm_quantize is for an LLM that runs here; quantise {url} where it is served"
            );
            return ExperimentLlm::over_http(experiment, url, slm);
        }
        ensure!(
            section.llm_api.is_none() && section.llm_model.is_none(),
            "pair.llm_api and pair.llm_model are for an LLM behind a URL"
        );
        let options = load_options(&section.llm, top_k, section.llm_quantize);
        let llm = load_model(&experiment.source(&section.llm, progress)?, &options)
            .map_err(|error| not_here(&section.llm, error.into()))?;
        check_pair(slm, &llm)?;
        Ok(ExperimentLlm::Here(Box::new(llm.decoder)))
    }

    fn over_http(experiment: &Experiment, url: &str, slm: &LoadedModel) -> Result<ExperimentLlm> {
        let section = &experiment.pair;
        let mut config = HttpConfig::new(url);
        config.api = section.llm_api.as_deref().map(str::parse).transpose()?;
        config.model = section.llm_model.clone();
        config.key = ApiKey::from_env(CLOUD_KEY)?;
        (config.first_byte, config.total) = (CALL, CALL);
        config.connections = CONNECTIONS;
        let texts = Spelling::new(slm.tokenizer.token_texts()?);
        let http = Http::new(config, slm.vocabulary.clone(), Some(texts))?;
        let model = http.server()?.model;
        let identity = identity(&model, &slm.vocabulary);
        let folder = experiment.run("");
        store::make_dir(&folder)?;
        let answers = Answers::open(&folder.join(ANSWERS), &identity, http)?;
        let llm = Box::new(Patient::new(answers, PATIENCE, CONNECTIONS));
        Ok(ExperimentLlm::There { llm, hash: store::sha256(identity.as_bytes()) })
    }

    /// The LLM as it is called, with nothing read yet. It keeps `prompts` prompts at
    /// least. Its positions are counted alike, whether it runs here or on a server.
    pub fn called(&self, prompts: usize) -> Box<dyn Llm + '_> {
        let prompts = prompts.max(PROMPTS);
        match self {
            ExperimentLlm::Here(decoder) => Box::new(InProcess::with_prompts(&**decoder, prompts)),
            ExperimentLlm::There { llm, .. } => Box::new(Metered::new(&**llm, prompts)),
        }
    }

    /// What names it in manifests: the hash of its weights, or of its name on a server.
    pub fn hash(&self) -> &str {
        match self {
            ExperimentLlm::Here(decoder) => &decoder.info().weights_hash,
            ExperimentLlm::There { hash, .. } => hash,
        }
    }

    /// What was asked of it so far; `None` in process, where no network is between.
    pub fn paid(&self) -> Option<LlmUsage> {
        let ExperimentLlm::There { llm, .. } = self else { return None };
        let traffic = llm.llm().llm().traffic();
        let (requests, bytes) = (traffic.requests, traffic.bytes);
        Some(LlmUsage { requests, positions: llm.processed(), bytes })
    }

    /// Whether its weights were never trained, as far as is known here.
    pub fn is_random(&self) -> bool {
        match self {
            ExperimentLlm::Here(decoder) => decoder.config().random_weights,
            ExperimentLlm::There { .. } => false,
        }
    }
}
