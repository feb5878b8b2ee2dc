//! A continuation token by token, as the server sends it: server-sent events
//! with token ids.

use std::time::Instant;

use serde::Deserialize;
use tokenroute_core::{LlmError, Reply, TokenId};

use crate::http::transport::{Counters, Failure};
use crate::http::wire::Query;
use crate::http::{Api, Http, HttpError};

/// The server's mark after the last piece.
const DONE: &[u8] = b"[DONE]";

impl Http {
    /// The LLM's greedy continuation of a context, each token handed out as it
    /// arrives: at most `tokens`, an end token included if the server names it.
    /// Asked once, since what was handed out cannot be taken back.
    ///
    /// # Errors
    /// A server that cannot be asked, breaks off, sends tokens outside the
    /// vocabulary, or has an API without streamed token ids (all but
    /// [`Api::Tokenroute`] and [`Api::Vllm`]).
    pub fn stream(
        &self,
        context: &[TokenId],
        tokens: usize,
        on_token: &mut dyn FnMut(TokenId),
    ) -> Result<Reply, LlmError> {
        let server = self.server().map_err(|error| match error {
            HttpError::Llm(error) => error,
            other => LlmError::Refused(other.to_string()),
        })?;
        if !matches!(server.api, Api::Tokenroute | Api::Vllm) {
            let api = server.api;
            return Err(LlmError::Refused(format!("{api} has no streamed token ids")));
        }
        let query = Query { context, from: context.len(), tokens, sampling: None };
        let body = server.api.streamed_body(&server.model, &query);
        let deadline = Instant::now() + self.config().total;
        let mut heard = Heard {
            line: Vec::new(),
            reply: Reply { positions: context.len() as u64, ..Reply::default() },
            whole: false,
            most: tokens,
            vocabulary: self.vocabulary_size(),
            on_token,
        };
        let mut hear = |bytes: &[u8]| heard.take(bytes).map_err(Failure::passing);
        let (path, bill) = (server.api.path(), Counters::default());
        self.transport()
            .stream(path, &body, deadline, &bill, &mut hear)
            .map_err(|failure| failure.error)?;
        if !heard.whole || heard.reply.tokens.is_empty() {
            let made = heard.reply.tokens.len();
            return Err(LlmError::BadReply(format!("a stream that broke off after {made} tokens")));
        }
        // The last token is handed out, not processed.
        heard.reply.positions += heard.reply.tokens.len() as u64 - 1;
        heard.reply.bytes = bill.bytes();
        Ok(heard.reply)
    }
}

/// What has come so far.
struct Heard<'a> {
    /// Bytes of a line that is not whole yet.
    line: Vec<u8>,
    reply: Reply,
    whole: bool,
    most: usize,
    vocabulary: usize,
    on_token: &'a mut dyn FnMut(TokenId),
}

#[derive(Deserialize)]
struct Piece {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    token_ids: Option<Vec<TokenId>>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl Heard<'_> {
    /// Takes in bytes, which may end anywhere.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), LlmError> {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if let Some(data) = line.strip_prefix(b"data:") {
                self.piece(data.trim_ascii())?;
            }
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn piece(&mut self, data: &[u8]) -> Result<(), LlmError> {
        if data == DONE {
            return Ok(());
        }
        let piece: Piece = serde_json::from_slice(data).map_err(|error| {
            LlmError::BadReply(format!("a piece of {} bytes: {error}", data.len()))
        })?;
        if let Some(details) = piece.usage.and_then(|usage| usage.prompt_tokens_details) {
            let cached = details.cached_tokens.unwrap_or(0);
            self.reply.positions = self.reply.positions.saturating_sub(cached);
        }
        // A last piece may hold usage alone.
        let Some(choice) = piece.choices.first() else { return Ok(()) };
        for &token in choice.token_ids.iter().flatten() {
            let (size, most) = (self.vocabulary, self.most);
            if token as usize >= size {
                let message = format!("token {token} is outside the vocabulary of {size}");
                return Err(LlmError::BadReply(message));
            }
            if self.reply.tokens.len() >= most {
                return Err(LlmError::BadReply(format!("more than {most} tokens")));
            }
            self.reply.tokens.push(token);
            (self.on_token)(token);
        }
        self.whole |= choice.finish_reason.is_some();
        Ok(())
    }
}
