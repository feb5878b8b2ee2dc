//! Requests to `/v1/completions`, checked before they cost anything.

use tokenroute_core::{Sampling, TokenId};
use tokenroute_model::Tokenizer;

use crate::completions::model::ServedModel;
use crate::net::memory::state_bytes;
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

/// Most tokens that a whole reply may list with log-probabilities, and their bytes while the
/// reply is built.
const LISTED: usize = 128 << 10;
const LISTED_BYTES: usize = 1 << 10;

/// Bytes of a prompt's or an answer's token, in all its copies.
const TOKEN_BYTES: usize = 64;

/// Copies of an echoed token's text while a reply is built, and the bytes beside it.
const ECHO_COPIES: usize = 6;
const ECHO_BYTES: usize = 64;

/// A request that can be met. It has OpenAI's fields, and vLLM's for token ids and prompt
/// log-probabilities; unknown fields are ignored, as other servers do.
#[derive(Debug)]
pub(crate) struct CompletionRequest {
    pub(crate) prompts: Vec<Vec<TokenId>>,
    /// How many tokens of each prompt the tokenizer put before its text.
    pub(crate) openings: Vec<usize>,
    /// Whether the reply repeats the prompts, with their log-probabilities if there are any.
    pub(crate) echo: bool,
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
        check_single(&fields, &["n", "best_of"])?;
        check_unsupported(&fields, &["stop", "suffix"])?;
        let (stream, echo) = (fields.flag("stream")?, fields.flag(ECHO)?);
        let top = fields.count("logprobs", 0, TOP)?;
        let prompt_top = match echo {
            true => echoed_top(&fields, stream, top)?,
            false => prompt_top(&fields, stream)?,
        };
        let (prompts, openings) = encoded(&fields, model)?;
        for prompt in &prompts {
            check_prompt(PROMPT, prompt, info.context, info.vocabulary)?;
            if let Some((start, _)) = prompt_top.filter(|&(start, _)| start > prompt.len()) {
                let found = prompt.len();
                let message = format!("`{START}` is {start}; the prompt has {found} tokens");
                return Err(Refusal::field(START, message));
            }
        }
        let request = CompletionRequest {
            prompts,
            openings,
            echo,
            max_tokens: fields.count("max_tokens", 0, usize::MAX)?.unwrap_or(COMPLETION_TOKENS),
            sampling: sampling(&fields)?,
            top,
            prompt_top,
            stream,
            ids: fields.flag("return_token_ids")?,
            named_by_id: fields.flag("return_tokens_as_token_ids")?,
        };
        request.check_listed(info.context)?;
        Ok(request)
    }

    /// Refuses a reply that lists too many tokens. It costs nothing, unlike the reply.
    fn check_listed(&self, context: usize) -> Result<(), Refusal> {
        let listed = self.listed(context);
        if self.stream || listed <= LISTED {
            return Ok(());
        }
        let prompt_field = self.prompt_top.is_some() && !self.echo;
        let field = if prompt_field { PROMPT_TOP } else { "logprobs" };
        let message = format!(
            "the reply would list {listed} tokens with log-probabilities; expected at most {LISTED}, so ask for fewer prompts, tokens or log-probabilities"
        );
        Err(Refusal::field(field, message))
    }

    /// Most tokens that the reply lists with log-probabilities.
    fn listed(&self, context: usize) -> usize {
        let of_prompt = |prompt: &Vec<TokenId>| {
            let scored = |(from, top)| prompt.len().saturating_sub(from).saturating_mul(top + 1);
            let made = self.made(prompt, context);
            self.prompt_top.map_or(0, scored) + self.top.map_or(0, |top| made * (top + 1))
        };
        self.prompts.iter().map(of_prompt).fold(0, usize::saturating_add)
    }

    /// Most tokens that follow a prompt.
    fn made(&self, prompt: &[TokenId], context: usize) -> usize {
        self.max_tokens.min((context + 1).saturating_sub(prompt.len()))
    }

    /// Most bytes of the reply while it is built, with the tokens that it comes from.
    pub(crate) fn reply_bytes(&self, model: &ServedModel) -> usize {
        let context = model.info.context;
        let listed = self.listed(context).min(LISTED).saturating_mul(LISTED_BYTES);
        let echoed = self.prompts.iter().map(Vec::len).filter(|_| self.echo).sum::<usize>();
        let each = model.longest_token.saturating_mul(ECHO_COPIES).saturating_add(ECHO_BYTES);
        let listed = listed.saturating_add(echoed.saturating_mul(each));
        let tokens = |prompt: &Vec<TokenId>| prompt.len() + self.made(prompt, context);
        let tokens: usize = self.prompts.iter().map(tokens).sum();
        listed.saturating_add(tokens.saturating_mul(TOKEN_BYTES))
    }

    /// Most bytes of a prompt's sequence in the batch: its KV cache and its logits.
    pub(crate) fn sequence_bytes(&self, prompt: &[TokenId], model: &ServedModel) -> usize {
        let info = &model.info;
        let positions = prompt.len() + self.made(prompt, info.context);
        let logits =
            match self.top.is_some() || self.sampling.is_some() || self.prompt_top.is_some() {
                true => size_of::<f32>() * info.vocabulary,
                false => 0,
            };
        state_bytes(model.position_bytes, positions).saturating_add(logits)
    }
}

/// First prompt position to score, from 1. It is our own field; vLLM scores all positions.
const START: &str = "prompt_logprobs_start";

const PROMPT_TOP: &str = "prompt_logprobs";
const ECHO: &str = "echo";

fn prompt_top(fields: &RequestFields, stream: bool) -> Result<Option<(usize, usize)>, Refusal> {
    let start = fields.count(START, 1, usize::MAX)?.unwrap_or(1);
    let top = fields.count(PROMPT_TOP, 0, TOP)?;
    check_whole(PROMPT_TOP, stream && top.is_some())?;
    Ok(top.map(|top| (start, top)))
}

/// With `echo`, `logprobs` asks for those of the prompt too.
fn echoed_top(
    fields: &RequestFields,
    stream: bool,
    top: Option<usize>,
) -> Result<Option<(usize, usize)>, Refusal> {
    check_whole(ECHO, stream)?;
    if fields.get(PROMPT_TOP).is_some() {
        let message = format!(
            "`{PROMPT_TOP}` and `{ECHO}` are two ways to get one thing; leave one of them out"
        );
        return Err(Refusal::field(PROMPT_TOP, message));
    }
    Ok(top.map(|top| (1, top)))
}

fn check_whole(name: &'static str, streams: bool) -> Result<(), Refusal> {
    match streams {
        false => Ok(()),
        true => {
            let message = format!("`{name}` cannot be streamed; leave it or `stream` out");
            Err(Refusal::field(name, message))
        }
    }
}

/// The prompts as tokens, and how many of each precede its text.
fn encoded(
    fields: &RequestFields,
    model: &ServedModel,
) -> Result<(Vec<Vec<TokenId>>, Vec<usize>), Refusal> {
    let prompts = prompts(fields)?;
    if prompts.len() > PROMPTS {
        let message = format!("{} prompts; expected 1 to {PROMPTS}", prompts.len());
        return Err(Refusal::field(PROMPT, message));
    }
    let encode = |prompt| match prompt {
        Prompt::Text(text) => {
            check_bytes(PROMPT, text, model.info.context, model.longest_token)?;
            let _held = model.memory.reserve(Tokenizer::memory(text))?;
            let ids = model.texts.encode(text);
            let ids = ids.map_err(|message| Refusal::field(PROMPT, message))?;
            let opening = ids.iter().zip(&model.opening).take_while(|(a, b)| a == b).count();
            Ok((ids, opening))
        }
        Prompt::Ids(ids) => Ok((ids, 0)),
    };
    prompts.into_iter().map(encode).collect()
}
