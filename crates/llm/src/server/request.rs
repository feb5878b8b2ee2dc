//! A request to `/v1/completions`, checked before it costs anything.

use serde::Deserialize;
use serde_json::Value;
use tokenroute_core::{ModelInfo, Sampling, TokenId};

use crate::server::{Refusal, Texts};

/// Most prompts in one request.
const PROMPTS: usize = 256;

/// Most log-probabilities for each token.
const TOP: usize = 20;

/// Tokens generated where the request does not say.
const MAX_TOKENS: usize = 16;

/// The fields of OpenAI's request that matter here, and vLLM's for token ids
/// and prompt log-probabilities. Others are ignored, as every server does.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    model: Option<String>,
    prompt: Prompt,
    max_tokens: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<Seed>,
    logprobs: Option<usize>,
    n: Option<u64>,
    best_of: Option<u64>,
    echo: Option<bool>,
    stop: Option<Value>,
    suffix: Option<String>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    return_token_ids: bool,
    prompt_logprobs: Option<usize>,
    /// First prompt position to score (ours; vLLM scores all). At least 1.
    prompt_logprobs_start: Option<usize>,
}

/// A negative seed counts from 2^64 down.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "seed: expected a whole number from -2^63 to 2^64 - 1")]
enum Seed {
    Plain(u64),
    Negative(i64),
}

impl Seed {
    fn bits(&self) -> u64 {
        match *self {
            Seed::Plain(seed) => seed,
            Seed::Negative(seed) => seed as u64,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Prompt {
    Text(String),
    Ids(Vec<TokenId>),
    Texts(Vec<String>),
    Many(Vec<Vec<TokenId>>),
}

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) prompts: Vec<Vec<TokenId>>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Option<Sampling>,
    pub(crate) top: Option<usize>,
    pub(crate) prompt_top: Option<(usize, usize)>,
    pub(crate) stream: bool,
    pub(crate) ids: bool,
}

impl Request {
    /// Checks a request against the model.
    pub(crate) fn plan(
        self,
        name: &str,
        info: &ModelInfo,
        texts: &dyn Texts,
    ) -> Result<Plan, Refusal> {
        if let Some(model) = self.model.filter(|model| model != name) {
            return Err(Refusal::NoModel(format!("no model {model:?} here; this one is {name:?}")));
        }
        let (temperature, top_p) = (self.temperature.unwrap_or(0.0), self.top_p.unwrap_or(1.0));
        let seed = self.seed.as_ref().map_or(0, Seed::bits);
        let sampling = Sampling::new(temperature, top_p, seed)
            .map_err(|error| Refusal::Bad(error.to_string()))?;
        if self.n.unwrap_or(1) != 1 || self.best_of.unwrap_or(1) != 1 {
            return bad("n and best_of must be 1: a prompt and a seed have one answer".to_owned());
        }
        let stop =
            self.stop.is_some_and(|stop| stop != Value::Null && stop != Value::from([""; 0]));
        for (field, given) in [
            ("echo", self.echo == Some(true)),
            ("stop", stop),
            ("suffix", self.suffix.is_some_and(|s| !s.is_empty())),
        ] {
            if given {
                return bad(format!("{field} is not supported; leave it out"));
            }
        }
        for (field, top) in [("logprobs", self.logprobs), ("prompt_logprobs", self.prompt_logprobs)]
        {
            if let Some(top) = top.filter(|&top| top > TOP) {
                return bad(format!("{field} is {top}; expected at most {TOP}"));
            }
        }
        let start = self.prompt_logprobs_start.unwrap_or(1);
        if start == 0 {
            return bad("prompt_logprobs_start is 0; expected at least 1".to_owned());
        }
        if self.stream && self.prompt_logprobs.is_some() {
            return bad("prompt_logprobs cannot be streamed; leave one out".to_owned());
        }
        let encode = |text: String| texts.encode(&text).map_err(Refusal::Bad);
        let prompts = match self.prompt {
            Prompt::Text(text) => vec![encode(text)?],
            Prompt::Texts(list) => list.into_iter().map(encode).collect::<Result<_, _>>()?,
            Prompt::Ids(ids) => vec![ids],
            Prompt::Many(prompts) => prompts,
        };
        if prompts.is_empty() || prompts.len() > PROMPTS {
            return bad(format!("{} prompts; expected 1 to {PROMPTS}", prompts.len()));
        }
        for prompt in &prompts {
            if prompt.is_empty() || prompt.len() > info.context {
                let (found, most) = (prompt.len(), info.context);
                return bad(format!("a prompt of {found} tokens; expected 1 to {most}"));
            }
            if let Some(id) = prompt.iter().find(|&&id| id as usize >= info.vocabulary) {
                let size = info.vocabulary;
                return bad(format!("token id {id} is outside the vocabulary of {size}"));
            }
            if self.prompt_logprobs.is_some() && start > prompt.len() {
                let found = prompt.len();
                return bad(format!(
                    "prompt_logprobs_start is {start}; the prompt has {found} tokens"
                ));
            }
        }
        Ok(Plan {
            prompts,
            max_tokens: self.max_tokens.unwrap_or(MAX_TOKENS),
            sampling,
            top: self.logprobs,
            prompt_top: self.prompt_logprobs.map(|top| (start, top)),
            stream: self.stream,
            ids: self.return_token_ids,
        })
    }
}

fn bad<T>(message: String) -> Result<T, Refusal> {
    Err(Refusal::Bad(message))
}
