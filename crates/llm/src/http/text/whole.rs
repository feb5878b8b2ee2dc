//! A chat server that cannot go on with a begun message, as an LLM that gives whole answers.

use std::sync::Arc;

use tokenroute_core::{
    Ask, Continuation, Llm, LlmError, Reply, Sampling, Speller, TokenId, Vocabulary,
};

use super::{TextApi, TextQuery, said};
use crate::Prompts;
use crate::http::Http;
use crate::http::client::after;
use crate::http::transport::Counters;
use crate::together::together;

/// Whole answers of a server ([`TextApi::Chat`]), in tokens of the SLM. The LLM is asked for
/// nothing after a begun answer.
pub struct WholeAnswers {
    http: Http,
    slm: Arc<dyn Speller>,
    /// The SLM's end token.
    end: TokenId,
    prompts: Arc<Prompts>,
}

impl WholeAnswers {
    /// Puts the server of a client behind [`Llm`]. `slm` spells the tokens of the SLM, and `end`
    /// is its end token. Every prompt must be in `prompts`.
    #[must_use]
    pub fn new(http: Http, slm: Arc<dyn Speller>, end: TokenId, prompts: Arc<Prompts>) -> Self {
        WholeAnswers { http, slm, end, prompts }
    }

    /// The client.
    #[must_use]
    pub fn http(&self) -> &Http {
        &self.http
    }

    fn answer(
        &self,
        context: &[TokenId],
        tokens: usize,
        sampling: Option<Sampling>,
    ) -> Result<Reply, LlmError> {
        let prompt = self.prompts.known(context).ok_or_else(|| {
            let message = "the API chat gives whole answers, and none after a begun one";
            LlmError::Refused(message.to_owned())
        })?;
        let query = TextQuery { prompt: &prompt, text: "", tokens, sampling };
        let (counters, deadline) = (Counters::default(), after(self.http.config().total));
        let ask = |deadline| said(&self.http, TextApi::Chat, &query, deadline, &counters);
        let said = self.http.persist(deadline, ask)?;
        let mut run = match said.text.as_str() {
            "" => Vec::new(),
            text => self.slm.spell(text)?.tokens,
        };
        if said.ended {
            run.push(self.end);
        }
        run.truncate(tokens);
        let (positions, bytes) = (said.positions, counters.bytes());
        Ok(Reply { tokens: run, positions, bytes, ..Reply::default() })
    }
}

impl Llm for WholeAnswers {
    /// The first token of each answer. A prompt with tokens after it is refused.
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        let first = |i: usize| self.answer(asks[i].context, 1, asks[i].sampling);
        each(self.http.config().connections, asks.len(), first)
    }

    /// One request each. An answer that the server cut ends without an end token.
    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        _: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        let whole = |i: usize| {
            let Continuation { context, tokens, sampling, .. } = wanted[i];
            self.answer(context, tokens.max(1), sampling)
        };
        each(self.http.config().connections, wanted.len(), whole)
    }

    fn forget(&self, _: &[TokenId]) {}
}

fn each(
    connections: usize,
    count: usize,
    answer: impl Fn(usize) -> Result<Reply, LlmError> + Sync,
) -> Vec<Result<Reply, LlmError>> {
    let lost = || Err(LlmError::Unavailable("its worker was lost".to_owned()));
    let replies = together(connections, count, answer);
    replies.into_iter().map(|reply| reply.unwrap_or_else(lost)).collect()
}
