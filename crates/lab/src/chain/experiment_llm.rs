//! The LLM of an experiment: loaded here, or behind a URL.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokenroute_core::{Ask, CommonPrefix, Llm, LlmError, Progress, TokenId};
use tokenroute_llm::http::{
    Answers, Bill, Found, Http, HttpConfig, HttpError, PROBE, Spelling, SpendLimit, Takes, TextApi,
    TokenPrices, identity,
};
use tokenroute_llm::{ApiKey, CLOUD_KEY, InProcess, Metered, Patient};
use tokenroute_model::{Decoder, LoadOptions, ModelCard, load_model};
use tokenroute_store as store;

use super::Asked;
use super::llm_server::LlmServer;
use super::other_tokenizer::OtherTokenizer;
use crate::experiment::{DataSection, Experiment};
use crate::llm_usage::{LlmUsage, TextUsage};

/// File under `run/`, or in the folder of a part, with the answers of an LLM behind a URL. Later stages, and sweeps of
/// other routers, pay for new prefixes alone.
const ANSWERS: &str = "llm-answers.redb";

/// Longest time for one call. No user waits for it.
const CALL: Duration = Duration::from_secs(60);

/// Longest time to retry a server that does not answer. The stage then fails, and can be
/// resumed.
const PATIENCE: Duration = Duration::from_secs(120);

/// Most calls to a server at once.
const CONNECTIONS: usize = 16;

/// Least number of prompts kept.
const PROMPTS: usize = 1024;

/// The LLM of an experiment.
pub enum ExperimentLlm {
    /// In process.
    Here(Box<CommonPrefix<Decoder>>),
    /// In process, sharing text alone with the SLM.
    Other(Box<OtherTokenizer>),
    /// On a server.
    There(Box<Patient<Answers<LlmServer>>>),
}

/// Adds a hint to an error where the LLM's name reads like a server's.
pub(super) fn not_here(llm: &Path, error: anyhow::Error) -> anyhow::Error {
    if HttpConfig::lacks_scheme(llm) {
        let name = llm.display();
        return error.context(format!(
            "pair.llm is {name}; a server's URL begins with http:// or https://"
        ));
    }
    error
}

/// Pause before a server that does not answer is asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// A server that an experiment names, and how it is asked.
pub(super) struct NamedServer {
    http: Http,
    /// The API of text; `None` for token ids.
    text: Option<TextApi>,
    /// Whether that is known. Else the server did not answer.
    known: bool,
}

impl NamedServer {
    /// Makes a client. Where no API is named, the server is asked what it takes. One that does not
    /// answer is identified as one of token ids, so that finished stages need no server.
    /// [`ExperimentLlm::there`] asks it again.
    pub(super) fn find(
        experiment: &Experiment,
        slm: &ModelCard,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let http = connect(experiment, slm)?;
        if let Some(api) = &experiment.pair.llm_api {
            return Ok(NamedServer { http, text: TextApi::named(api), known: true });
        }
        match http.find(&slm.tokenizer.encode_prompt(PROBE)?) {
            Err(HttpError::Llm(LlmError::Unavailable(_) | LlmError::Late(_))) => {
                progress.note(&format!(
                    "{} does not answer; a stage that needs the LLM asks it again",
                    experiment.pair.llm.display()
                ));
                Ok(NamedServer { http, text: None, known: false })
            }
            found => {
                let text = takes(&found?, experiment, progress)?;
                Ok(NamedServer { http, text, known: true })
            }
        }
    }

    /// Asks a server that did not answer before, until it does. It must take what the stages were
    /// identified by.
    fn check_known(
        &self,
        experiment: &Experiment,
        slm: &ModelCard,
        progress: &dyn Progress,
    ) -> Result<()> {
        if self.known {
            return Ok(());
        }
        let until = Instant::now() + PATIENCE;
        let ids = slm.tokenizer.encode_prompt(PROBE)?;
        let found = loop {
            match self.http.find(&ids) {
                Err(HttpError::Llm(LlmError::Unavailable(_) | LlmError::Late(_)))
                    if Instant::now() < until =>
                {
                    thread::sleep(PAUSE);
                }
                found => break found?,
            }
        };
        match takes(&found, experiment, progress)? {
            None => Ok(()),
            Some(api) => bail!(
                "{found}, and it did not answer when the command started; start the command again, or set pair.llm_api = \"{api}\""
            ),
        }
    }

    /// Identifies its model: the name, the form in which it is asked, and the tokens of its
    /// answers.
    pub(super) fn identity(&self, experiment: &Experiment, slm: &ModelCard) -> Result<String> {
        let model = match &experiment.pair.llm_model {
            Some(model) => model.clone(),
            None => self.http.server()?.model,
        };
        Ok(match self.text {
            None => identity(&model, &slm.vocabulary),
            Some(api) => identity(&format!("{model} through {api}"), &slm.vocabulary),
        })
    }
}

/// The API of text by which stages ask a server; `None` for token ids.
fn takes(
    found: &Found,
    experiment: &Experiment,
    progress: &dyn Progress,
) -> Result<Option<TextApi>> {
    progress.note(&format!("{found}; name it in pair.llm_api to ask no more"));
    let Takes::Text(apis) = found.takes else { return Ok(None) };
    ensure!(
        !apis.is_whole(),
        "{}: {found}; a stage needs an LLM that goes on with a begun answer",
        experiment.pair.llm.display()
    );
    // Of another form it refuses every prompt, in words.
    Ok(Some(apis.get(experiment.data.prompt.chat).unwrap_or(apis.first())))
}

/// A client of the server that `pair.llm` names.
fn connect(experiment: &Experiment, slm: &ModelCard) -> Result<Http> {
    let section = &experiment.pair;
    let url = HttpConfig::url_of(&section.llm).context("pair.llm is no URL")?;
    let mut config = HttpConfig::new(url);
    if let Some(api) = &section.llm_api {
        config.speak(api)?;
    }
    if let (Some(most), Some(prices)) = (section.max_spend, &experiment.report.prices) {
        let (input, cached_input, output) = (prices.input, prices.cached_input, prices.output);
        let prices = TokenPrices { input, cached_input, output };
        config.spend = Some(SpendLimit { prices, most });
    }
    config.model = section.llm_model.clone();
    config.key = ApiKey::from_env(CLOUD_KEY)?;
    (config.first_byte, config.total) = (CALL, CALL);
    config.connections = CONNECTIONS;
    let ids = config.text.is_none();
    let texts = ids.then(|| slm.tokenizer.token_texts()).transpose()?.map(Spelling::new);
    Ok(Http::new(config, slm.vocabulary.clone(), texts)?)
}

impl ExperimentLlm {
    /// Loads an LLM that runs here. It must share the tokenizer of the SLM, whose name is
    /// given for errors, unless the experiment lets them share text alone.
    pub(super) fn here(
        experiment: &Experiment,
        (slm, name, decoder): (&ModelCard, &str, &Decoder),
        options: &LoadOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let path = experiment.source(&experiment.pair.llm, progress)?;
        let llm = load_model(&path, options)?;
        if !experiment.pair.through_text {
            slm.check_pair(name, &llm)?;
            return Ok(ExperimentLlm::Here(Box::new(CommonPrefix::new(llm.decoder))));
        }
        Ok(ExperimentLlm::Other(Box::new(OtherTokenizer::new(llm, path, slm, decoder)?)))
    }

    /// Opens an LLM on a server, with the answers that it gave before.
    pub(super) fn there(
        experiment: &Experiment,
        named: &NamedServer,
        folder: &Path,
        (slm, decoder): (&ModelCard, &Decoder),
        progress: &dyn Progress,
    ) -> Result<Self> {
        named.check_known(experiment, slm, progress)?;
        // Its tokenizer is checked here.
        named.http.server()?;
        let identity = named.identity(experiment, slm)?;
        let server = LlmServer::new(named.http.clone(), named.text, slm, decoder)?;
        store::make_dir(folder)?;
        let answers = Answers::open(&folder.join(ANSWERS), &identity, &slm.vocabulary, server)?;
        Ok(ExperimentLlm::There(Box::new(Patient::new(answers, PATIENCE, CONNECTIONS))))
    }

    /// Fails if labels or policies need the LLM's probabilities and the LLM does not give them.
    /// One ask for the tokens after one and two of `token` shows it. Without such a need nothing is
    /// sent.
    pub(super) fn check_probabilities(
        &self,
        experiment: &Experiment,
        token: TokenId,
    ) -> Result<()> {
        let keys = experiment.probability_keys();
        if keys.is_empty() {
            return Ok(());
        }
        let top = experiment.sweep.llm_top().max(1);
        let reply = self.called(0).ask(&[Ask::greedy(&[token; 2], 1).with_top(top)]).pop();
        let none = || Err(LlmError::BadReply("no reply to an ask".to_owned()));
        reply.unwrap_or_else(none).map(drop).with_context(|| {
            let keys: Vec<String> =
                keys.into_iter().map(|(key, what)| format!("{key} {what}")).collect();
            format!(
                "{}, which needs the LLM's probabilities; change that, or use another LLM",
                keys.join(", and ")
            )
        })
    }

    /// The LLM as it is called, with nothing read yet. It keeps `prompts` prompts at
    /// least. Its positions are counted alike, whether it runs here or on a server.
    pub fn called(&self, prompts: usize) -> Box<dyn Llm + '_> {
        let prompts = prompts.max(PROMPTS);
        match self {
            ExperimentLlm::Here(llm) => Box::new(InProcess::with_prompts(&**llm, prompts)),
            ExperimentLlm::Other(llm) => llm.called(prompts),
            ExperimentLlm::There(llm) => Box::new(Metered::new(&**llm, prompts)),
        }
    }

    /// Most positions of a sequence on a server, if it says so.
    pub fn server_context(&self) -> Option<usize> {
        let ExperimentLlm::There(llm) = self else { return None };
        llm.llm().llm().context()
    }

    /// Calls to a server so far; `None` in process.
    pub fn usage(&self) -> Option<LlmUsage> {
        let ExperimentLlm::There(llm) = self else { return None };
        let traffic = llm.llm().llm().http().traffic();
        let (requests, bytes) = (traffic.requests, traffic.bytes);
        Some(LlmUsage { requests, positions: llm.processed(), bytes })
    }

    /// What answers took in the LLM's own tokens; `None` if they are the SLM's.
    pub fn text_usage(&self) -> Option<TextUsage> {
        match self {
            ExperimentLlm::Here(_) => None,
            ExperimentLlm::Other(llm) => Some(llm.usage()),
            ExperimentLlm::There(llm) => llm.llm().llm().text_usage(),
        }
    }

    /// Tokens and money at a server so far; `None` without a limit of spending.
    pub(super) fn bill(&self) -> Option<Bill> {
        let ExperimentLlm::There(llm) = self else { return None };
        llm.llm().llm().http().bill()
    }

    /// Names what the LLM reads for each prompt, where it shares text alone with the SLM.
    pub(super) fn announce<'a>(
        &self,
        data: &DataSection,
        asked: impl Iterator<Item = &'a Asked>,
    ) -> Result<()> {
        match self {
            ExperimentLlm::Here(_) => Ok(()),
            ExperimentLlm::Other(llm) => {
                llm.announce(&data.prompt, data.allow_special_tokens, asked)
            }
            ExperimentLlm::There(llm) => llm.llm().llm().announce(&data.prompt, asked),
        }
    }

    /// Whether its weights are random. `false` for a server.
    pub fn is_random(&self) -> bool {
        match self {
            ExperimentLlm::Here(llm) => llm.model().config().random_weights,
            ExperimentLlm::Other(llm) => llm.is_random(),
            ExperimentLlm::There(_) => false,
        }
    }
}
