//! The LLM of a pair, loaded here or behind a URL.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokenroute_core::{LanguageModel, Llm, LlmError, Progress, Sampling, Tau};
use tokenroute_llm::http::{
    Answers, Api, Http, HttpConfig, HttpError, Spelling, Traffic, identity,
};
use tokenroute_llm::{ApiKey, CLOUD_KEY, InProcess};
use tokenroute_model::{Format, LoadedModel, RouterScorer, check_pair};
use tokenroute_runtime::{Budget, Calls, DEFAULT_BATCH, Policy, Wait};

use crate::args::{Drawing, Remote, Routing};
use crate::{output, source};

/// How to open an LLM.
struct Wanted<'a> {
    /// If it is a server.
    remote: &'a Remote,
    /// If it runs here.
    quantize: Option<Format>,
    /// If it runs here.
    top_k: usize,
}

/// The LLM of a pair and the router that asks it.
pub struct Large {
    /// The LLM.
    pub opened: Opened,
    /// The router, made for the SLM.
    pub scorer: RouterScorer,
}

/// Loads the SLM and, unless it is to answer alone, what goes with it.
pub fn load(
    slm: &Path,
    routing: &Routing,
    progress: &dyn Progress,
) -> Result<(LoadedModel, Option<Large>)> {
    let (llm, router) = match (&routing.llm, &routing.router) {
        (None, None) => return Ok((source::load(slm, 8, routing.quantize, progress)?, None)),
        (Some(llm), Some(router)) => (llm, router),
        _ => bail!("give all of --llm, --router and --tau, or none"),
    };
    let mut scorer = RouterScorer::open(router)?;
    let top_k = scorer.header().features.top_k.max(8);
    let slm = source::load(slm, top_k, routing.quantize, progress)?;
    scorer.check(slm.decoder.info(), slm.vocabulary.hash())?;
    scorer.share_threads(&slm.decoder);
    let wanted = Wanted { remote: &routing.remote, quantize: routing.llm_quantize, top_k };
    let opened = open(llm, &wanted, &slm, progress)?;
    Ok((slm, Some(Large { opened, scorer })))
}

/// The LLM of a pair and where it is.
pub struct Opened {
    /// The LLM.
    pub llm: Box<dyn Llm + Send>,
    /// Its client, if it is behind a network: the same connections and counters.
    pub http: Option<Http>,
}

/// Most calls to a server at once.
pub const CONNECTIONS: usize = 16;

/// An LLM behind a network answers many at once, each in its own time.
pub const OVER_HTTP: Calls = Calls { threads: CONNECTIONS, together: 1 };

/// One in process answers a batch at the price of one.
pub const IN_PROCESS: Calls = Calls { threads: 1, together: DEFAULT_BATCH };

impl Opened {
    /// What went to the LLM and came back so far, if it is behind a network.
    pub fn traffic(&self) -> Option<Traffic> {
        self.http.as_ref().map(Http::traffic)
    }
}

/// Why an LLM could not be loaded here, with a hint where its name reads like a server's.
fn not_here(llm: &Path, error: anyhow::Error) -> anyhow::Error {
    if HttpConfig::lacks_scheme(llm) {
        let name = llm.display();
        error.context(format!("{name} names no server; a URL begins with http:// or https://"))
    } else {
        error
    }
}

/// Opens the LLM that goes with this SLM.
fn open(
    llm: &Path,
    wanted: &Wanted<'_>,
    slm: &LoadedModel,
    progress: &dyn Progress,
) -> Result<Opened> {
    if let Some(url) = HttpConfig::url_of(llm) {
        ensure!(
            wanted.quantize.is_none(),
            "--llm-quantize is for an LLM that runs here, not for {url}; quantise it where it is served"
        );
        return over_http(url, wanted.remote, slm);
    }
    let llm = source::load(llm, wanted.top_k, wanted.quantize, progress)
        .map_err(|error| not_here(llm, error))?;
    check_pair(slm, &llm)?;
    Ok(Opened { llm: Box::new(InProcess::new(llm.decoder)), http: None })
}

fn over_http(url: &str, remote: &Remote, slm: &LoadedModel) -> Result<Opened> {
    let mut config = HttpConfig::new(url);
    config.api = remote.llm_api.as_deref().map(str::parse).transpose()?;
    config.model = remote.llm_model.clone();
    config.key = ApiKey::from_env(CLOUD_KEY)?;
    config.authority = remote.llm_ca.as_deref().map(authority).transpose()?;
    config.total = Duration::from_millis(remote.llm_deadline);
    config.first_byte = config.first_byte.min(config.total);
    config.connect = config.connect.min(config.total);
    config.connections = CONNECTIONS;
    config.http2 = remote.llm_http2;
    config.hedge = remote.llm_hedge.map(Duration::from_millis);
    let spelled = matches!(config.api, None | Some(Api::OpenAi));
    let texts = spelled.then(|| slm.tokenizer.token_texts()).transpose()?;
    let http = Http::new(config, slm.vocabulary.clone(), texts.map(Spelling::new))?;
    // A cloud that is away may come back; one that says no, or that holds
    // another tokenizer, will not change its mind.
    let server = match http.server() {
        Ok(server) => Some(server),
        Err(error @ HttpError::Llm(LlmError::Unavailable(_) | LlmError::Late(_))) => {
            output::warn(&format!("{error}; the small model goes on alone until it is back"));
            None
        }
        Err(error) => return Err(error.into()),
    };
    let client = Some(http.clone());
    let Some(path) = &remote.llm_cache else {
        return Ok(Opened { llm: Box::new(http), http: client });
    };
    let model = server.map(|server| server.model).or_else(|| remote.llm_model.clone());
    let model = model.context("--llm-cache needs --llm-model while the LLM cannot be asked")?;
    let identity = identity(&model, &slm.vocabulary);
    Ok(Opened { llm: Box::new(Answers::open(path, &identity, http)?), http: client })
}

fn authority(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read --llm-ca {}", path.display()))
}

/// The policy that the arguments ask for.
pub fn policy(routing: &Routing) -> Result<Policy> {
    let tau = routing.tau.as_deref().map_or(Ok(Tau::SLM_ONLY), str::parse)?;
    let waiting = &routing.waiting;
    let wait = match (waiting.speculate, waiting.relay) {
        (Some(branches), _) => Wait::Speculate { branches, max_ahead: waiting.max_ahead },
        (None, Some(tokens)) => Wait::Relay { tokens },
        (None, None) => Wait::Block,
    };
    let budget = waiting.max_offload.map_or(Ok(Budget::ALL), Budget::new)?.over_answers();
    let deadline = waiting.deadline.map(Duration::from_millis);
    Ok(Policy {
        tau,
        wait,
        deadline,
        budget,
        lookahead: waiting.lookahead,
        max_extra: waiting.max_extra_calls,
        warm: waiting.warm,
        sampling: None,
    })
}

/// How the arguments ask for tokens to be drawn.
pub fn sampling(drawing: &Drawing) -> Result<Option<Sampling>> {
    Ok(Sampling::new(drawing.temperature, drawing.top_p, drawing.seed)?)
}

/// Says of answers that are drawn how, and what does not hold for them.
pub fn note_sampling(policy: &Policy, progress: &dyn Progress) {
    if let Some(sampling) = policy.sampling {
        progress.note(&format!("{sampling}: {}", Sampling::NOTE));
    }
}
