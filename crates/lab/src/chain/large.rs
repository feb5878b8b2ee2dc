//! The LLM of an experiment: loaded here, or behind a URL.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokenroute_core::{
    Detail, Feed, LanguageModel, ModelError, ModelInfo, Progress, Run, Runs, Step, TokenId,
    Vocabulary,
};
use tokenroute_llm::http::{Answers, Http, HttpConfig, Spelling, identity};
use tokenroute_llm::{ApiKey, AsModel, CLOUD_KEY};
use tokenroute_model::{Decoder, KvState, LoadedModel, check_pair, load_model};
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

/// The LLM of an experiment.
pub enum Large {
    /// In process.
    Here(Box<Decoder>),
    /// On a server.
    There(Box<AsModel<Answers<Http>>>),
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

/// A sequence of either.
#[derive(Clone)]
pub enum Held {
    /// Of a model in process.
    Here(KvState),
    /// Of one on a server.
    There(Vec<TokenId>),
}

impl Large {
    /// Opens the experiment's LLM, which must go with its SLM.
    pub fn open(
        experiment: &Experiment,
        slm: &LoadedModel,
        top_k: usize,
        progress: &dyn Progress,
    ) -> Result<Large> {
        let section = &experiment.pair;
        if let Some(url) = HttpConfig::url_of(&section.llm) {
            ensure!(
                section.llm_quantize.is_none(),
                "pair.llm_quantize is for an LLM that runs here; quantise {url} where it is served"
            );
            return Large::over_http(experiment, url, slm);
        }
        ensure!(
            section.llm_api.is_none() && section.llm_model.is_none(),
            "pair.llm_api and pair.llm_model are for an LLM behind a URL"
        );
        let options = load_options(&section.llm, top_k, section.llm_quantize);
        let llm = load_model(&experiment.source(&section.llm, progress)?, &options)
            .map_err(|error| not_here(&section.llm, error.into()))?;
        check_pair(slm, &llm)?;
        Ok(Large::Here(Box::new(llm.decoder)))
    }

    fn over_http(experiment: &Experiment, url: &str, slm: &LoadedModel) -> Result<Large> {
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
        let info = ModelInfo {
            name: model,
            // The server's name for it is all that tells it from another.
            weights_hash: store::sha256(identity.as_bytes()),
            hidden: 0,
            vocabulary: slm.vocabulary.len(),
            context: usize::MAX,
            top_k: 0,
        };
        let folder = experiment.run("");
        store::make_dir(&folder)?;
        let answers = Answers::open(&folder.join(ANSWERS), &identity, http)?;
        Ok(Large::There(Box::new(AsModel::new(answers, info, PATIENCE, CONNECTIONS))))
    }

    /// What was asked of it so far; `None` in process, where no network is between.
    pub fn paid(&self) -> Option<LlmUsage> {
        let Large::There(model) = self else { return None };
        let traffic = model.llm().llm().traffic();
        let (requests, bytes) = (traffic.requests, traffic.bytes);
        Some(LlmUsage { requests, positions: model.processed(), bytes })
    }

    /// Whether its weights were never trained, as far as is known here.
    pub fn is_random(&self) -> bool {
        match self {
            Large::Here(decoder) => decoder.config().random_weights,
            Large::There(_) => false,
        }
    }

    fn mixed(&self) -> ModelError {
        let message = "a state of another model".to_owned();
        ModelError::Backend { model: self.info().name.clone(), message }
    }
}

impl LanguageModel for Large {
    type State = Held;

    fn info(&self) -> &ModelInfo {
        match self {
            Large::Here(model) => model.info(),
            Large::There(model) => model.info(),
        }
    }

    fn start(&self) -> Held {
        match self {
            Large::Here(model) => Held::Here(model.start()),
            Large::There(model) => Held::There(model.start()),
        }
    }

    fn positions(&self, state: &Held) -> usize {
        match (self, state) {
            (Large::Here(model), Held::Here(state)) => model.positions(state),
            (Large::There(model), Held::There(state)) => model.positions(state),
            _ => 0,
        }
    }

    fn truncate(&self, state: &mut Held, len: usize) {
        match (self, state) {
            (Large::Here(model), Held::Here(state)) => model.truncate(state, len),
            (Large::There(model), Held::There(state)) => model.truncate(state, len),
            _ => {}
        }
    }

    fn advance(
        &self,
        feeds: &mut [Feed<'_, Held>],
        detail: Detail,
    ) -> Result<Vec<Vec<Step>>, ModelError> {
        match self {
            Large::Here(model) => {
                let feeds = feeds.iter_mut().map(|feed| match &mut *feed.state {
                    Held::Here(state) => Ok(Feed { state, tokens: feed.tokens, from: feed.from }),
                    Held::There(_) => Err(self.mixed()),
                });
                model.advance(&mut feeds.collect::<Result<Vec<_>, _>>()?, detail)
            }
            Large::There(model) => {
                let feeds = feeds.iter_mut().map(|feed| match &mut *feed.state {
                    Held::There(state) => Ok(Feed { state, tokens: feed.tokens, from: feed.from }),
                    Held::Here(_) => Err(self.mixed()),
                });
                model.advance(&mut feeds.collect::<Result<Vec<_>, _>>()?, detail)
            }
        }
    }

    fn run(&self, runs: &mut [Run<'_, Held>], vocabulary: &Vocabulary) -> Option<Runs> {
        let Large::There(model) = self else { return None };
        let runs = runs.iter_mut().map(|run| match &mut *run.state {
            Held::There(state) => Ok(Run { state, tokens: run.tokens, most: run.most }),
            Held::Here(_) => Err(self.mixed()),
        });
        match runs.collect::<Result<Vec<_>, _>>() {
            Ok(mut runs) => model.run(&mut runs, vocabulary),
            Err(error) => Some(Err(error)),
        }
    }
}
