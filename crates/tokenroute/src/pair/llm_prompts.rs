//! What the LLM reads for a prompt, where the models share text alone.

use std::path::PathBuf;
use std::sync::Arc;

use tokenroute_core::TokenId;
use tokenroute_llm::http::TextApis;
use tokenroute_llm::{LlmPrompt, Prompts};
use tokenroute_model::{ChatOptions, ChatTemplate, Message, Tokenizer};

use crate::Error;

/// Prompts that are known at a time: more than sessions run at once.
const PROMPTS: usize = 4096;

/// Makes the LLM's prompts and hands them to it.
#[derive(Clone)]
pub(crate) struct LlmPrompts {
    pub(super) prompts: Arc<Prompts>,
    reads: Arc<Reads>,
}

/// The form in which the LLM reads prompts.
#[expect(clippy::large_enum_variant, reason = "a pair has one, behind an Arc")]
enum Reads {
    /// In its own tokens, through its own chat template.
    Tokens { named: PathBuf, tokenizer: Tokenizer, template: Option<ChatTemplate> },
    /// As its server's APIs take them.
    Server(TextApis),
}

impl LlmPrompts {
    pub(super) fn here(
        named: PathBuf,
        tokenizer: Tokenizer,
        template: Option<ChatTemplate>,
    ) -> Self {
        Self::new(Reads::Tokens { named, tokenizer, template })
    }

    pub(super) fn server(apis: TextApis) -> Self {
        Self::new(Reads::Server(apis))
    }

    fn new(reads: Reads) -> Self {
        LlmPrompts { prompts: Arc::new(Prompts::new(PROMPTS)), reads: Arc::new(reads) }
    }

    /// Whether a prompt was announced.
    pub(super) fn knows(&self, prompt: &[TokenId]) -> bool {
        self.prompts.known(prompt).is_some()
    }

    /// Announces a plain prompt.
    pub(crate) fn text(&self, prompt: &[TokenId], text: &str) -> Result<(), Error> {
        let read = match &*self.reads {
            Reads::Tokens { tokenizer, .. } => {
                plain(tokenizer, text)?;
                LlmPrompt::Tokens(tokenizer.encode_prompt(text)?)
            }
            Reads::Server(apis) if apis.get(false).is_none() => {
                let (api, takes, given) = (apis.first(), "chats", "plain text");
                return Err(Error::PromptForm { api, takes, given });
            }
            Reads::Server(_) => LlmPrompt::Text(text.to_owned()),
        };
        self.prompts.announce(prompt, read);
        Ok(())
    }

    /// Announces a conversation.
    pub(crate) fn chat(
        &self,
        prompt: &[TokenId],
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<(), Error> {
        let read = match &*self.reads {
            Reads::Tokens { named, tokenizer, template } => {
                messages.iter().try_for_each(|message| plain(tokenizer, &message.content))?;
                let none = || Error::NoTemplate { slm: named.clone() };
                let text = template.as_ref().ok_or_else(none)?.render(messages, options)?;
                LlmPrompt::Tokens(tokenizer.encode(&text)?)
            }
            Reads::Server(apis) => {
                let Some(api) = apis.get(true) else {
                    let (api, takes, given) = (apis.first(), "plain text", "a chat");
                    return Err(Error::PromptForm { api, takes, given });
                };
                if let Some(name) = options.variables.keys().next() {
                    return Err(Error::TemplateVariable { api, name: name.clone() });
                }
                let pair = |message: &Message| (message.role.clone(), message.content.clone());
                LlmPrompt::Chat(messages.iter().map(pair).collect())
            }
        };
        self.prompts.announce(prompt, read);
        Ok(())
    }
}

/// Refuses a text that spells a special token of the LLM.
fn plain(tokenizer: &Tokenizer, text: &str) -> Result<(), Error> {
    match tokenizer.special_token_in(text) {
        Some(token) => Err(Error::SpecialToken { token }),
        None => Ok(()),
    }
}

#[cfg(feature = "server")]
impl tokenroute_server::routed::Announce for LlmPrompts {
    fn text(&self, prompt: &[TokenId], text: &str) -> Result<(), String> {
        self.text(prompt, text).map_err(|error| error.to_string())
    }

    fn chat(
        &self,
        prompt: &[TokenId],
        messages: &[Message],
        options: &ChatOptions,
    ) -> Result<(), String> {
        self.chat(prompt, messages, options).map_err(|error| error.to_string())
    }
}
