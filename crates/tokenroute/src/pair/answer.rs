//! Answers of a pair: from a text, from messages, from token ids.

use tokenroute_core::{LanguageModel, Llm, TokenId, Trace, TraceToken};
use tokenroute_model::{ChatOptions, Decoder, Message};
use tokenroute_runtime::{DEFAULT_BATCH, Policy, Request, RoutedDecoding};

use super::{Decoding, RoutedPair};
use crate::{Error, Token, TokenStream};

/// One answer and its record.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// The text, without the end token.
    pub text: String,
    /// Every token with its origin, and what they cost.
    pub trace: Trace,
}

impl Answer {
    /// LLM tokens / generated tokens.
    #[must_use]
    pub fn offload_ratio(&self) -> f64 {
        self.trace.offload_ratio()
    }

    /// Number of SLM tokens kept because the LLM gave none.
    #[must_use]
    pub fn degraded(&self) -> usize {
        self.trace.degraded()
    }
}

impl RoutedPair {
    /// Answers a prompt and hands out every token as it is committed. The special tokens
    /// that the model's makers put around a prompt are added.
    ///
    /// # Errors
    /// An empty prompt or one that is longer than the SLM's context; a failure of the SLM
    /// or of the scorer.
    pub fn generate(&self, prompt: &str, on_token: impl FnMut(Token)) -> Result<Answer, Error> {
        let prompt = self.text_prompt(prompt)?;
        self.answer(&prompt, self.decoding, on_token)
    }

    /// The prompt of a text in tokens.
    ///
    /// # Errors
    /// A text that a model of the pair cannot read.
    pub fn text_prompt(&self, text: &str) -> Result<Vec<TokenId>, Error> {
        let prompt = self.slm.tokenizer.encode_prompt(text)?;
        if let Some(prompts) = self.llm_prompts() {
            prompts.text(&prompt, text)?;
        }
        Ok(prompt)
    }

    /// Answers a conversation, which the SLM's chat template makes into a prompt.
    ///
    /// A special token that a message spells becomes a control token, as in transformers.
    /// `pair.slm().tokenizer.special_token_in(text)` finds one; the commands `chat` and `serve`
    /// refuse it.
    ///
    /// # Errors
    /// As [`RoutedPair::generate`]; a model without a chat template.
    pub fn chat(&self, messages: &[Message], on_token: impl FnMut(Token)) -> Result<Answer, Error> {
        self.answer(&self.chat_prompt(messages)?, self.decoding, on_token)
    }

    /// The prompt of a conversation in tokens.
    ///
    /// # Errors
    /// A model without a chat template, or messages that the template refuses.
    pub fn chat_prompt(&self, messages: &[Message]) -> Result<Vec<TokenId>, Error> {
        self.chat_prompt_with(messages, &ChatOptions::default())
    }

    /// As [`RoutedPair::chat_prompt`], with other inputs of the chat template.
    ///
    /// # Errors
    /// As [`RoutedPair::chat_prompt`].
    pub fn chat_prompt_with(
        &self,
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<Vec<TokenId>, Error> {
        let none = || Error::NoTemplate { slm: self.named.clone() };
        let template = self.template()?.ok_or_else(none)?;
        let prompt = self.slm.tokenizer.encode(&template.render(messages, options)?)?;
        if let Some(prompts) = self.llm_prompts() {
            prompts.chat(&prompt, messages, options)?;
        }
        Ok(prompt)
    }

    /// Answers a prompt of token ids. `decoding` replaces the pair's own.
    ///
    /// # Errors
    /// As [`RoutedPair::generate`].
    pub fn answer(
        &self,
        prompt: &[TokenId],
        decoding: Decoding,
        mut on_token: impl FnMut(Token),
    ) -> Result<Answer, Error> {
        let max_tokens = decoding.max_tokens.min(self.room_after(prompt)?);
        let mut stream = TokenStream::new(&self.slm, max_tokens);
        let (mut text, mut fault) = (String::new(), None);
        let mut hear = |_: usize, record: &TraceToken| match stream.push(record.clone()) {
            Ok(token) => {
                text += &token.text;
                on_token(token);
            }
            Err(error) => fault = Some(error),
        };
        let request = Request { question: "", prompt, max_tokens };
        let trace = self.answer_all(&[request], decoding.policy, &mut hear)?.pop();
        match fault {
            Some(error) => Err(error),
            None => Ok(Answer { text, trace: trace.unwrap_or_default() }),
        }
    }

    /// Answers many prompts in batches; `on_token` gets each token with the number of its
    /// request. Returns the records in the order of the requests.
    ///
    /// # Errors
    /// As [`RoutedPair::generate`].
    pub fn answer_all(
        &self,
        requests: &[Request<'_>],
        policy: Policy,
        on_token: &mut dyn FnMut(usize, &TraceToken),
    ) -> Result<Vec<Trace>, Error> {
        Ok(self.routed(policy).run_with(requests, on_token)?)
    }

    /// As [`RoutedPair::answer_all`], with a result for each request: a failure of one leaves
    /// the others whole.
    ///
    /// # Errors
    /// An empty prompt.
    pub fn answer_each(
        &self,
        requests: &[Request<'_>],
        policy: Policy,
        on_token: &mut dyn FnMut(usize, &TraceToken),
    ) -> Result<Vec<Result<Trace, Error>>, Error> {
        let results = self.routed(policy).run_each(requests, on_token)?;
        Ok(results.into_iter().map(|result| result.map_err(Error::from)).collect())
    }

    fn routed(&self, policy: Policy) -> RoutedDecoding<'_, Decoder, dyn Llm> {
        let (pair, scorer) = self.parts();
        // What an answer leaves of such a budget is the next one's.
        let batch = if policy.budget.carries() { 1 } else { DEFAULT_BATCH };
        let calls = self.calls(&policy);
        RoutedDecoding { calls, batch, ..RoutedDecoding::new(pair, scorer, policy) }
    }

    /// Most tokens of an answer to this prompt, by the SLM's context.
    ///
    /// # Errors
    /// An empty prompt, or one that is longer than the context; a prompt that did not come from
    /// [`RoutedPair::text_prompt`] or [`RoutedPair::chat_prompt`], if the models share text alone.
    pub fn room_after(&self, prompt: &[TokenId]) -> Result<usize, Error> {
        let (tokens, context) = (prompt.len(), self.slm.decoder.info().context);
        match tokens {
            0 => Err(Error::EmptyPrompt),
            _ if self.llm_prompts().is_some_and(|prompts| !prompts.knows(prompt)) => {
                Err(Error::PromptOfIds)
            }
            _ if tokens > context => Err(Error::LongPrompt { tokens, context }),
            // The last token of an answer is not read again.
            _ => Ok(context + 1 - tokens),
        }
    }
}
