//! Requests for answers, checked before they cost anything.
//!
//! - `limits`: fields that bound or change how an answer is decoded.
//! - `prompt`: texts, token ids and messages to a prompt.
//! - `responses`: the fields of `/v1/responses`.

mod limits;
mod prompt;
mod responses;

use tokenroute_core::{LogProbability, TokenId};
use tokenroute_runtime::{Policy, Wait};

use crate::net::memory::{Room, state_bytes};
use crate::net::openai::fields::RequestFields;
use crate::net::openai::request::{PROMPT, check_model, check_prompt, sampling};
use crate::net::refusal::Refusal;
use crate::routed::served::ServedPair;

/// Bytes of a token in all its copies, and in a reply with the origin of every token.
const TOKEN_BYTES: usize = 256;
const SHOWN_TOKEN_BYTES: usize = 2048;

/// Bytes of a listed log-probability while a reply is built, and of each byte of its token.
const LISTED_BYTES: usize = 1024;
const LISTED_TOKEN_BYTES: usize = 64;

/// Most log-probabilities in a reply.
const LISTED: usize = 128 << 10;

/// Which of the APIs a request uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Text,
    /// `/v1/responses`.
    Response,
}

impl AnswerKind {
    /// OpenAI's prefix for ids of replies.
    pub(crate) fn id_prefix(self) -> &'static str {
        match self {
            AnswerKind::Chat => "chatcmpl",
            AnswerKind::Text => "cmpl",
            AnswerKind::Response => "resp",
        }
    }

    /// Fields that this server does not support.
    fn unsupported(self) -> &'static [&'static str] {
        match self {
            AnswerKind::Chat => &["tools", "functions", "logit_bias", "audio"],
            AnswerKind::Text => &["suffix", "logit_bias"],
            AnswerKind::Response => &["tools", "include", "n"],
        }
    }
}

/// A request that can be met.
#[derive(Debug)]
pub(crate) struct RoutedRequest {
    pub(crate) kind: AnswerKind,
    pub(crate) prompt: Vec<TokenId>,
    pub(crate) max_tokens: usize,
    pub(crate) policy: Policy,
    /// How many answers are wanted, at least 1.
    pub(crate) answers: usize,
    pub(crate) stops: Vec<String>,
    pub(crate) stream: bool,
    /// Whether usage comes at the end of a stream.
    pub(crate) usage: bool,
    /// Whether the origin of every token comes with the reply.
    pub(crate) tokens: bool,
}

impl RoutedRequest {
    /// Reads a request and checks it against the pair. Unknown fields are ignored, as
    /// OpenAI does; known ones that would change the answer are refused. Tokenising takes memory
    /// of `room`.
    pub(crate) fn read(
        kind: AnswerKind,
        body: &[u8],
        pair: &ServedPair,
        room: &Room,
    ) -> Result<RoutedRequest, Refusal> {
        let fields = RequestFields::parse(body)?;
        check_model(&fields, &pair.name)?;
        limits::check_supported(kind, &fields)?;
        let (sampling, listed) = (sampling(&fields)?, limits::listed(kind, &fields)?);
        let policy = Policy { sampling, listed, ..limits::policy(&fields, pair)? };
        let answers = limits::answers(&fields, sampling)?;
        let stops = limits::stops(&fields)?;
        let (field, prompt) = match kind {
            AnswerKind::Chat => {
                let conversation = prompt::chat(&fields)?;
                (prompt::MESSAGES, prompt::chat_prompt(&conversation, &fields, pair, room)?)
            }
            AnswerKind::Text => (PROMPT, prompt::text_prompt(&fields, pair, room)?),
            AnswerKind::Response => {
                responses::check_stateless(&fields)?;
                let conversation = responses::conversation(&fields)?;
                (responses::INPUT, prompt::chat_prompt(&conversation, &fields, pair, room)?)
            }
        };
        check_prompt(field, &prompt, pair.most_prompt.min(pair.context), pair.vocabulary)?;
        // The last token made is not read again.
        let room = pair.context + 1 - prompt.len();
        let request = RoutedRequest {
            kind,
            max_tokens: limits::max_tokens(kind, &fields, pair.most_tokens, room)?,
            prompt,
            policy,
            answers,
            stops,
            stream: fields.flag("stream")?,
            usage: fields.flag_within("stream_options", "include_usage")?,
            tokens: fields.flag("tokenroute")?,
        };
        request.check_listed()?;
        Ok(request)
    }

    /// Refuses a reply that lists too many log-probabilities. It costs nothing, unlike the reply.
    fn check_listed(&self) -> Result<(), Refusal> {
        let listed = self.listed();
        if listed <= LISTED {
            return Ok(());
        }
        let message = format!(
            "the reply would list {listed} log-probabilities; expected at most {LISTED}, so ask for fewer tokens, answers or log-probabilities"
        );
        Err(Refusal::field("logprobs", message))
    }

    /// Most log-probabilities in the reply.
    fn listed(&self) -> usize {
        let each = self.policy.listed.map_or(0, |top| top + 1);
        self.max_tokens.saturating_mul(each).saturating_mul(self.answers)
    }

    /// Most bytes of an answer's session: its states, speculated ones included, and what is made
    /// and waits with them.
    pub(crate) fn session_bytes(&self, pair: &ServedPair) -> usize {
        let tokens = self.prompt.len().saturating_add(self.max_tokens);
        let session = state_bytes(pair.position_bytes, tokens);
        let ahead = match self.policy.wait {
            Wait::Speculate { branches, max_ahead } => {
                state_bytes(pair.position_bytes, max_ahead).saturating_mul(branches.get())
            }
            Wait::Block | Wait::Relay { .. } => 0,
            // The state after the prompt is kept.
            Wait::Whole => state_bytes(pair.position_bytes, self.prompt.len()),
        };
        let beside = pair.beside_bytes(&self.policy, self.max_tokens);
        session.saturating_add(ahead).saturating_add(beside)
    }

    /// Most bytes of the prompt's and all answers' tokens and of the reply.
    pub(crate) fn reply_bytes(&self, pair: &ServedPair) -> usize {
        let each = if self.tokens { SHOWN_TOKEN_BYTES } else { TOKEN_BYTES };
        let answers = self.answers.saturating_mul(self.max_tokens);
        let entry = pair.longest_token.saturating_mul(LISTED_TOKEN_BYTES);
        let entry = entry.saturating_add(LISTED_BYTES + size_of::<LogProbability>());
        let listed = self.listed().saturating_mul(entry);
        self.prompt.len().saturating_add(answers).saturating_mul(each).saturating_add(listed)
    }
}
