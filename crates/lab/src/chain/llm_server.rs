//! The server of an experiment's LLM: it takes token ids, or text alone.

use std::sync::Arc;

use anyhow::{Result, bail};
use tokenroute_core::{Ask, Continuation, Llm, LlmError, PromptFormat, Reply, TokenId, Vocabulary};
use tokenroute_llm::http::{Http, TextApi, TextServer};
use tokenroute_llm::{InProcess, LlmPrompt, Prompts, TextLlm};
use tokenroute_model::{Decoder, ModelCard};

use super::Asked;
use crate::llm_usage::TextUsage;
use crate::prompts::Prompter;

/// Prompts whose SLM states are kept for tokens inside a character.
const KEPT: usize = 16;

/// An LLM on a server.
pub enum LlmServer {
    /// It takes token ids.
    Ids(Http),
    /// It takes text alone.
    Text(Box<TextLlmServer>),
}

/// An LLM on a server that takes text alone.
pub struct TextLlmServer {
    llm: TextLlm<TextServer>,
    http: Http,
    api: TextApi,
    prompts: Arc<Prompts>,
}

impl LlmServer {
    /// Speaks to a server in the form that its client is configured for.
    pub(super) fn new(
        http: Http,
        text: Option<TextApi>,
        slm: &ModelCard,
        decoder: &Decoder,
    ) -> Result<Self> {
        let Some(api) = text else { return Ok(LlmServer::Ids(http)) };
        let prompts = Arc::new(Prompts::new(usize::MAX));
        let llm = TextLlm::new(
            TextServer::new(http.clone(), api),
            Arc::new(slm.tokenizer.bytewise()?),
            Arc::new(InProcess::with_prompts(decoder.clone(), KEPT)),
            slm.vocabulary.end(),
            Arc::clone(&prompts),
        );
        Ok(LlmServer::Text(Box::new(TextLlmServer { llm, http, api, prompts })))
    }

    /// The client.
    pub(super) fn http(&self) -> &Http {
        match self {
            LlmServer::Ids(http) => http,
            LlmServer::Text(server) => &server.http,
        }
    }

    /// Most positions of a sequence there in tokens of the SLM, if the server says so.
    pub(super) fn context(&self) -> Option<usize> {
        let LlmServer::Ids(http) = self else { return None };
        http.server().ok()?.context
    }

    /// What answers took through text.
    pub(super) fn text_usage(&self) -> Option<TextUsage> {
        let LlmServer::Text(server) = self else { return None };
        Some(server.llm.counts().totals().into())
    }

    /// Names what the server reads for each prompt, if it takes text alone.
    pub(super) fn announce<'a>(
        &self,
        format: &PromptFormat,
        asked: impl Iterator<Item = &'a Asked>,
    ) -> Result<()> {
        let LlmServer::Text(server) = self else { return Ok(()) };
        let api = server.api;
        match (api.chats(), format.chat) {
            (true, false) => bail!(
                "pair.llm_api = \"{api}\" takes chats; set data.prompt.chat = true, or use \"text\""
            ),
            (false, true) => bail!(
                "pair.llm_api = \"{api}\" takes plain prompts; set data.prompt.chat = false, or use an API of chats"
            ),
            (true, true) if !format.chat_template_kwargs.is_empty() => bail!(
                "data.prompt.chat_template_kwargs cannot be sent with pair.llm_api = \"{api}\"; remove it"
            ),
            _ => {}
        }
        for part in asked {
            for (question, prompt) in part.questions.iter().zip(&part.prompts) {
                let read = match format.chat {
                    false => LlmPrompt::Text(format.plain(question)),
                    true => {
                        let messages = Prompter::messages(format, question).into_iter();
                        LlmPrompt::Chat(messages.map(|m| (m.role, m.content)).collect())
                    }
                };
                server.prompts.announce(prompt, read);
            }
        }
        Ok(())
    }
}

impl Llm for LlmServer {
    fn ask(&self, asks: &[Ask<'_>]) -> Vec<Result<Reply, LlmError>> {
        match self {
            LlmServer::Ids(http) => http.ask(asks),
            LlmServer::Text(server) => server.llm.ask(asks),
        }
    }

    fn continuations(
        &self,
        wanted: &[Continuation<'_>],
        vocabulary: &Vocabulary,
    ) -> Vec<Result<Reply, LlmError>> {
        match self {
            LlmServer::Ids(http) => http.continuations(wanted, vocabulary),
            LlmServer::Text(server) => server.llm.continuations(wanted, vocabulary),
        }
    }

    fn forget(&self, prompt: &[TokenId]) {
        match self {
            LlmServer::Ids(http) => http.forget(prompt),
            LlmServer::Text(server) => server.llm.forget(prompt),
        }
    }
}
