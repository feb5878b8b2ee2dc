//! The LLM of a pair, loaded here or behind a URL.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokenroute_cloud::http::{Answers, Api, Http, HttpConfig, HttpError, Spelling};
use tokenroute_cloud::{ApiKey, InProcess};
use tokenroute_core::{Llm, LlmError, Progress, TokenId};
use tokenroute_edge::{Format, LoadedModel, check_pair};

use crate::args::Remote;
use crate::{output, source};

/// The environment variable that holds the key, on both sides.
const KEY: &str = "TOKENROUTE_CLOUD_KEY";

/// The key in the environment, if there is one.
pub fn key() -> Result<Option<ApiKey>> {
    match std::env::var_os(KEY) {
        None => Ok(None),
        Some(key) => {
            let key = ApiKey::new(&key.to_string_lossy()).with_context(|| KEY)?;
            Ok(Some(key))
        }
    }
}

/// How to open an LLM.
pub struct Wanted<'a> {
    /// If it is a server.
    pub remote: &'a Remote,
    /// If it runs here.
    pub quantize: Option<Format>,
    /// If it runs here.
    pub top_k: usize,
}

/// The LLM of a pair and where it is.
pub struct Opened {
    /// The LLM.
    pub llm: Box<dyn Llm>,
    /// Whether it is behind a network.
    pub remote: bool,
}

/// Most calls to a server at once.
pub const CONNECTIONS: usize = 16;

/// Opens the LLM that goes with this SLM.
pub fn open(
    llm: &Path,
    wanted: &Wanted<'_>,
    slm: &LoadedModel,
    progress: &dyn Progress,
) -> Result<Opened> {
    let text = llm.to_string_lossy();
    if text.starts_with("http://") || text.starts_with("https://") {
        ensure!(
            wanted.quantize.is_none(),
            "--llm-quantize is for an LLM that runs here, not for {text}; quantise it where it is served"
        );
        return Ok(Opened { llm: over_http(&text, wanted.remote, slm)?, remote: true });
    }
    let llm = source::load(llm, wanted.top_k, wanted.quantize, progress)?;
    check_pair(slm, &llm)?;
    Ok(Opened { llm: Box::new(InProcess::new(llm.decoder)), remote: false })
}

fn over_http(url: &str, remote: &Remote, slm: &LoadedModel) -> Result<Box<dyn Llm>> {
    let mut config = HttpConfig::new(url);
    config.api = remote.llm_api.as_deref().map(str::parse).transpose()?;
    config.model = remote.llm_model.clone();
    config.key = key()?;
    config.total = Duration::from_millis(remote.llm_deadline);
    config.first_byte = config.first_byte.min(config.total);
    config.connect = config.connect.min(config.total);
    config.connections = CONNECTIONS;
    config.hedge = remote.llm_hedge.map(Duration::from_millis);
    let texts =
        matches!(config.api, None | Some(Api::OpenAi)).then(|| spelling(slm)).transpose()?;
    let http = Http::new(config, slm.vocabulary.clone(), texts)?;
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
    let Some(path) = &remote.llm_cache else { return Ok(Box::new(http)) };
    let model = server.map(|server| server.model).or_else(|| remote.llm_model.clone());
    let model = model.context("--llm-cache needs --llm-model while the LLM cannot be asked")?;
    let identity = format!("{model} {}", slm.vocabulary.hash());
    Ok(Box::new(Answers::open(path, &identity, http)?))
}

fn spelling(slm: &LoadedModel) -> Result<Spelling> {
    let size = slm.tokenizer.size() as TokenId;
    let texts: Result<Vec<String>, _> = (0..size).map(|id| slm.tokenizer.token_text(id)).collect();
    Ok(Spelling::new(texts?))
}
