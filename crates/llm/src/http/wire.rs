//! Requests and replies of each API: token ids in, checked token ids out.

mod completion;
mod engines;

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::{Value, json};
use tokenroute_core::{Ask, LlmError, Reply, Sampling, TokenId, Vocabulary};

use crate::http::{Api, Spelling};
use crate::metered::check_top;
pub(crate) use completion::Completion;
use completion::completion;
use engines::{llama_cpp, sglang};

/// One question for the server: the token after `context[..i]` for every
/// `i` in `from..=context.len()`, and at the end up to `tokens` in a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) context: &'a [TokenId],
    pub(crate) from: usize,
    pub(crate) tokens: usize,
    pub(crate) sampling: Option<Sampling>,
    /// As [`Ask::top`].
    pub(crate) top: usize,
}

impl<'a> From<&Ask<'a>> for Query<'a> {
    fn from(ask: &Ask<'a>) -> Self {
        let Ask { context, from, sampling, top } = *ask;
        Query { context, from, tokens: 1, sampling, top }
    }
}

impl Query<'_> {
    /// Most bytes of a reply. A reply may repeat the prompt, and lists tokens at its positions.
    pub(crate) fn reply_limit(&self) -> usize {
        const ALWAYS: usize = 1 << 20;
        const A_POSITION: usize = 1 << 10;
        const A_LISTED_TOKEN: usize = 1 << 8;
        let positions = self.context.len().saturating_add(self.tokens);
        let each = A_LISTED_TOKEN.saturating_mul(self.top).saturating_add(A_POSITION);
        positions.saturating_mul(each).saturating_add(ALWAYS)
    }

    /// Whether earlier positions are asked for too.
    fn scores(&self) -> bool {
        self.from < self.context.len()
    }

    /// A mark of the context, for servers that do not repeat the context but repeat another
    /// field. A reply with another mark belongs to another request.
    fn mark(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.context.hash(&mut hasher);
        hasher.finish()
    }

    /// The seed for a server that draws from a random stream of its own. Greedy decoding
    /// needs none, so the field carries the mark instead.
    fn seed(&self) -> u32 {
        let mark = (self.mark() >> 33) as u32;
        self.sampling.map_or(mark, |sampling| sampling.call_seed(self.context.len()))
    }

    /// Prefix of an SGLang request's name. The rest differs from call to call, since two
    /// requests under way need different names.
    fn name(&self) -> String {
        format!("{REQUEST}{:016x}-", self.mark())
    }
}

/// Prefix of our requests' names.
const REQUEST: &str = "tokenroute-";

/// The pair's tokens, against which replies are checked.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) vocabulary: Vocabulary,
    pub(crate) spelling: Option<Spelling>,
}

impl Api {
    /// Path of the completions endpoint.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Api::Tokenroute | Api::Vllm | Api::OpenAi => "/v1/completions",
            Api::Sglang => "/generate",
            Api::LlamaCpp => "/completion",
        }
    }

    /// A page for probes that generates no token. SGLang's `/health` generates one, and
    /// llama.cpp lists its models while it still loads them.
    pub(crate) fn probe_path(self) -> &'static str {
        match self {
            Api::LlamaCpp => "/health",
            Api::Tokenroute | Api::Vllm | Api::Sglang | Api::OpenAi => "/v1/models",
        }
    }

    /// Whether replies can hold the most probable tokens as ids with their probabilities
    /// ([`Ask::top`]).
    #[must_use]
    pub fn lists_probabilities(self) -> bool {
        matches!(self, Api::Tokenroute | Api::Vllm)
    }

    /// The request's body.
    pub(crate) fn body(self, model: &str, query: &Query<'_>) -> Vec<u8> {
        self.request(model, query).to_string().into_bytes()
    }

    /// The request as JSON. Penalties are switched off by name: servers read them from the
    /// checkpoint's generation_config.json. With a penalty the answer is neither the model's
    /// argmax nor a draw from its distribution.
    fn request(self, model: &str, query: &Query<'_>) -> Value {
        let prompt = query.context;
        let mut body = match self {
            Api::Tokenroute => json!({
                "model": model, "prompt": prompt, "max_tokens": query.tokens, "temperature": 0,
                "return_token_ids": true,
            }),
            // Older versions support return_tokens_as_token_ids alone.
            Api::Vllm => json!({
                "model": model, "prompt": prompt, "max_tokens": query.tokens, "temperature": 0,
                "repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0,
                "return_token_ids": true, "return_tokens_as_token_ids": true, "logprobs": 1,
            }),
            Api::Sglang => json!({
                "input_ids": prompt, "rid": format!("{}{:016x}", query.name(), fastrand::u64(..)),
                "sampling_params": {
                    "max_new_tokens": query.tokens, "temperature": 0, "repetition_penalty": 1.0,
                    "frequency_penalty": 0.0, "presence_penalty": 0.0,
                },
                "return_logprob": true, "top_logprobs_num": 1,
                // The first position of the window has no prediction.
                "logprob_start_len": query.from - 1,
            }),
            Api::LlamaCpp => json!({
                "prompt": prompt, "n_predict": query.tokens, "temperature": 0, "top_k": 1,
                "repeat_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0,
                "dry_multiplier": 0.0, "cache_prompt": true, "return_tokens": true,
                "stream": false, "seed": query.seed(),
            }),
            Api::OpenAi => json!({
                "model": model, "prompt": prompt, "max_tokens": query.tokens, "temperature": 0,
                "frequency_penalty": 0.0, "presence_penalty": 0.0, "logprobs": 1,
            }),
        };
        if query.scores() && matches!(self, Api::Tokenroute | Api::Vllm) {
            body["prompt_logprobs"] = json!(1);
            // Only our server has it: earlier positions stay in its KV cache.
            if self == Api::Tokenroute {
                body["prompt_logprobs_start"] = json!(query.from);
            }
        }
        if query.top > 0 && self.lists_probabilities() {
            body["logprobs"] = json!(query.top);
            body["return_tokens_as_token_ids"] = json!(true);
            if query.scores() {
                body["prompt_logprobs"] = json!(query.top);
            }
        }
        if let Some(sampling) = query.sampling {
            self.draw(sampling, query.seed(), &mut body);
        }
        body
    }

    /// The same, for a streamed reply.
    pub(crate) fn streamed_body(self, model: &str, query: &Query<'_>) -> Vec<u8> {
        let mut body = self.request(model, query);
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
        body.to_string().into_bytes()
    }

    /// Reads and checks a reply.
    ///
    /// # Errors
    /// [`LlmError::BadReply`] for anything that is not the answer to this query
    /// in tokens of this vocabulary.
    pub(crate) fn read(
        self,
        bytes: &[u8],
        query: &Query<'_>,
        facts: &Facts,
    ) -> Result<Reply, LlmError> {
        let reply = match self {
            Api::Tokenroute | Api::Vllm | Api::OpenAi => completion(bytes, query, facts),
            Api::Sglang => sglang(bytes, query, facts),
            Api::LlamaCpp => llama_cpp(bytes, query, facts),
        }?;
        let scored = query.context.len() - query.from;
        let found = reply.tokens.len();
        if !(scored + 1..=scored + query.tokens).contains(&found) {
            let most = scored + query.tokens;
            return bad(format!("{found} tokens; expected {} to {most}", scored + 1));
        }
        let size = facts.vocabulary.len();
        match reply.tokens.iter().find(|&&t| t as usize >= size) {
            Some(token) => bad(format!("token {token} is outside the vocabulary of {size}")),
            None => {
                check_top(query.top, &reply)?;
                Ok(reply)
            }
        }
    }
}

pub(super) fn bad<T>(message: String) -> Result<T, LlmError> {
    Err(LlmError::BadReply(message))
}

/// Brackets that every reply may have, and bytes of a reply for each further one. A bracket may
/// take hundreds of bytes in memory; a reply's true lists and objects hold numbers and names.
const BRACKETS: usize = 16 << 10;
const BYTES_A_BRACKET: usize = 8;

pub(super) fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, LlmError> {
    let found = bytes.iter().filter(|&&byte| byte == b'{' || byte == b'[').count();
    let most = BRACKETS + bytes.len() / BYTES_A_BRACKET;
    if found > most {
        return bad(format!(
            "{} bytes of JSON with {found} brackets; expected at most {most}",
            bytes.len()
        ));
    }
    serde_json::from_slice(bytes)
        .map_err(|error| LlmError::BadReply(format!("{} bytes of JSON: {error}", bytes.len())))
}

/// Checks the server's count of prompt tokens. Another count means another prefix, or a
/// server that put a token before the prompt.
fn check_count(counted: Option<u64>, query: &Query<'_>) -> Result<(), LlmError> {
    match counted {
        Some(counted) if counted != query.context.len() as u64 => {
            bad(format!("an answer to {counted} prompt tokens; {} were sent", query.context.len()))
        }
        _ => Ok(()),
    }
}

/// Processed positions: those of the context that were not cached, and those of generated
/// tokens except the last.
fn positions(query: &Query<'_>, cached: Option<u64>, made: usize) -> u64 {
    (query.context.len() as u64).saturating_sub(cached.unwrap_or(0)) + made as u64 - 1
}

/// Generated ids as an answer, with the end token if the server left it out.
fn run(
    ids: &[TokenId],
    stopped: bool,
    query: &Query<'_>,
    facts: &Facts,
) -> Result<Vec<TokenId>, LlmError> {
    let mut run = ids.to_vec();
    let ends = run.last().is_some_and(|&t| facts.vocabulary.is_end(t));
    if stopped && !ends && run.len() < query.tokens {
        run.push(facts.vocabulary.end());
    }
    match run.len() {
        found if (1..=query.tokens).contains(&found) => Ok(run),
        found => bad(format!("{found} token ids; expected 1 to {}", query.tokens)),
    }
}

/// One model of `/v1/models`.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) owned_by: String,
    /// Hash of the tokenizer, from `tokenroute cloud` alone.
    pub(crate) tokenizer_hash: Option<String>,
    /// Most positions of a sequence, from vLLM, SGLang and `tokenroute cloud`.
    pub(crate) max_model_len: Option<usize>,
}

/// The models a server lists.
pub(crate) fn models(bytes: &[u8]) -> Result<Vec<Listed>, LlmError> {
    #[derive(Deserialize)]
    struct Models {
        data: Vec<Listed>,
    }
    parse::<Models>(bytes).map(|models| models.data)
}
