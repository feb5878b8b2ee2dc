//! A continuation token by token, from server-sent events with token ids.

use tokenroute_core::{LlmError, Reply, TokenId, Vocabulary};

use crate::http::client::after;
use crate::http::transport::{Counters, Failure};
use crate::http::wire::{Completion, Query, parse};
use crate::http::{Api, Http, HttpError};

/// Most bytes of an event.
const LINE_LIMIT: usize = 4 << 20;

/// The server's mark after the last event.
const DONE: &[u8] = b"[DONE]";

impl Http {
    /// The LLM's greedy continuation of a context, each token handed out as it
    /// arrives: at most `tokens`, an end token included if the server names it. Tokens after
    /// the vocabulary's separator are dropped.
    /// It is not retried, since tokens that were handed out cannot be taken back.
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
        let query = Query { context, from: context.len(), tokens, sampling: None, top: 0 };
        let body = server.api.streamed_body(&server.model, &query);
        let deadline = after(self.config().total);
        let mut streamed = StreamedReply {
            line: Vec::new(),
            reply: Reply { positions: context.len() as u64, ..Reply::default() },
            whole: false,
            most: tokens,
            vocabulary: self.vocabulary(),
            on_token,
        };
        let mut take = |bytes: &[u8]| streamed.take(bytes).map_err(Failure::passing);
        let (path, bill) = (server.api.path(), Counters::default());
        self.transport()
            .stream(path, &body, deadline, &bill, &mut take)
            .map_err(|failure| failure.error)?;
        if !streamed.whole || streamed.reply.tokens.is_empty() {
            let made = streamed.reply.tokens.len();
            return Err(LlmError::BadReply(format!("a stream that broke off after {made} tokens")));
        }
        // The last token is handed out, but not processed.
        streamed.reply.positions += streamed.reply.tokens.len() as u64 - 1;
        streamed.reply.bytes = bill.bytes();
        Ok(streamed.reply)
    }
}

/// The reply so far.
struct StreamedReply<'a> {
    /// Bytes of a line that is not complete yet.
    line: Vec<u8>,
    reply: Reply,
    whole: bool,
    most: usize,
    vocabulary: &'a Vocabulary,
    on_token: &'a mut dyn FnMut(TokenId),
}

impl StreamedReply<'_> {
    /// Reads bytes, which may end anywhere.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), LlmError> {
        while let Some(end) = bytes.iter().position(|&b| b == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let line = std::mem::take(&mut self.line);
            if let Some(data) = line.strip_prefix(b"data:") {
                self.event(data.trim_ascii())?;
            }
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() > LINE_LIMIT {
            return Err(LlmError::BadReply(format!("an event of more than {LINE_LIMIT} bytes")));
        }
        Ok(())
    }

    fn event(&mut self, data: &[u8]) -> Result<(), LlmError> {
        if data == DONE {
            return Ok(());
        }
        let chunk: Completion = parse(data).map_err(|error| match error {
            LlmError::BadReply(what) => LlmError::BadReply(format!("an event of {what}")),
            other => other,
        })?;
        if let Some(details) = chunk.usage.and_then(|usage| usage.prompt_tokens_details) {
            let cached = details.cached_tokens.unwrap_or(0);
            self.reply.positions = self.reply.positions.saturating_sub(cached);
        }
        // The last event may hold usage alone.
        let Some(choice) = chunk.choices.first() else { return Ok(()) };
        for &token in choice.token_ids.iter().flatten() {
            if self.vocabulary.closes(&self.reply.tokens) {
                self.whole = true;
                break;
            }
            let (size, most) = (self.vocabulary.len(), self.most);
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
