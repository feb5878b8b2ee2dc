//! Requests to `/v1/completions`, checked before they cost anything.

use tokenroute_core::{Sampling, TokenId};

use crate::completions::model::ServedModel;
use crate::net::openai::fields::RequestFields;
use crate::net::openai::request::{
    COMPLETION_TOKENS, PROMPT, Prompt, check_bytes, check_model, check_prompt, check_single,
    check_unsupported, prompts, sampling,
};
use crate::net::refusal::Refusal;

/// Most prompts in one request.
const PROMPTS: usize = 256;

/// Most log-probabilities for each token.
const TOP: usize = 20;

/// A request that can be met. It has OpenAI's fields, and vLLM's for token ids and prompt
/// log-probabilities; unknown fields are ignored, as other servers do.
#[derive(Debug)]
pub(crate) struct CompletionRequest {
    pub(crate) prompts: Vec<Vec<TokenId>>,
    pub(crate) max_tokens: usize,
    pub(crate) sampling: Option<Sampling>,
    /// How many of the most probable tokens come with each generated one.
    pub(crate) top: Option<usize>,
    /// The first prompt position to score, and how many tokens come with each.
    pub(crate) prompt_top: Option<(usize, usize)>,
    pub(crate) stream: bool,
    /// Whether token ids come with the reply.
    pub(crate) ids: bool,
    /// Whether `logprobs` names tokens by their ids.
    pub(crate) named_by_id: bool,
}

impl CompletionRequest {
    /// Reads a request and checks it against the model.
    pub(crate) fn read(body: &[u8], model: &ServedModel) -> Result<CompletionRequest, Refusal> {
        let info = &model.info;
        let fields = RequestFields::parse(body)?;
        check_model(&fields, &model.name)?;
        check_single(&fields)?;
        check_unsupported(&fields, &["echo", "stop", "suffix"])?;
        let stream = fields.flag("stream")?;
        let prompt_top = prompt_top(&fields, stream)?;
        let prompts = encoded(&fields, model)?;
        for prompt in &prompts {
            check_prompt(PROMPT, prompt, info.context, info.vocabulary)?;
            if let Some((start, _)) = prompt_top.filter(|&(start, _)| start > prompt.len()) {
                let found = prompt.len();
                let message = format!("`{START}` is {start}; the prompt has {found} tokens");
                return Err(Refusal::field(START, message));
            }
        }
        Ok(CompletionRequest {
            prompts,
            max_tokens: fields.count("max_tokens", 0, usize::MAX)?.unwrap_or(COMPLETION_TOKENS),
            sampling: sampling(&fields)?,
            top: fields.count("logprobs", 0, TOP)?,
            prompt_top,
            stream,
            ids: fields.flag("return_token_ids")?,
            named_by_id: fields.flag("return_tokens_as_token_ids")?,
        })
    }
}

/// First prompt position to score, from 1. It is our own field; vLLM scores all positions.
const START: &str = "prompt_logprobs_start";

fn prompt_top(fields: &RequestFields, stream: bool) -> Result<Option<(usize, usize)>, Refusal> {
    let name = "prompt_logprobs";
    let start = fields.count(START, 1, usize::MAX)?.unwrap_or(1);
    let top = fields.count(name, 0, TOP)?;
    if stream && top.is_some() {
        let message = format!("`{name}` cannot be streamed; leave it or `stream` out");
        return Err(Refusal::field(name, message));
    }
    Ok(top.map(|top| (start, top)))
}

/// The prompts as tokens.
fn encoded(fields: &RequestFields, model: &ServedModel) -> Result<Vec<Vec<TokenId>>, Refusal> {
    let prompts = prompts(fields)?;
    if prompts.len() > PROMPTS {
        let message = format!("{} prompts; expected 1 to {PROMPTS}", prompts.len());
        return Err(Refusal::field(PROMPT, message));
    }
    let encode = |prompt| match prompt {
        Prompt::Text(text) => {
            check_bytes(PROMPT, text, model.info.context, model.longest_token)?;
            model.texts.encode(text).map_err(|message| Refusal::field(PROMPT, message))
        }
        Prompt::Ids(ids) => Ok(ids),
    };
    prompts.into_iter().map(encode).collect()
}
