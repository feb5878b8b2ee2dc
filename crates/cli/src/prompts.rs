//! From a question to the text that a model is asked: the experiment's format, and
//! the model's own chat template around it where the experiment wants that.

use std::path::Path;

use anyhow::{Context, Result};
use tokenroute_core::{PromptFormat, Question};
use tokenroute_edge::{ChatOptions, ChatTemplate, Message};

/// A prompt format, ready for one model.
pub struct Prompter<'f> {
    format: &'f PromptFormat,
    chat: Option<(ChatTemplate, ChatOptions)>,
}

impl<'f> Prompter<'f> {
    /// Reads the chat template of a model if the format asks for one.
    pub fn new(format: &'f PromptFormat, model: &Path) -> Result<Self> {
        let mut chat = None;
        if format.chat {
            let template = ChatTemplate::read(model)?.with_context(|| {
                format!(
                    "{} has no chat template; expected chat_template.jinja or `chat_template` in tokenizer_config.json (`tokenizer.chat_template` in a GGUF file), or set data.prompt.chat = false",
                    model.display()
                )
            })?;
            let date = match &format.date {
                None => None,
                Some(text) => Some(text.parse().with_context(|| {
                    format!("data.prompt.date is {text:?}; expected a day as 2025-07-01")
                })?),
            };
            chat = Some((template, ChatOptions { date, ..Default::default() }));
        }
        Ok(Prompter { format, chat })
    }

    /// The text of one question.
    pub fn prompt(&self, question: &Question) -> Result<String> {
        let text = self.format.fill(question);
        let Some((template, options)) = &self.chat else { return Ok(text) };
        let system = self.format.system.as_deref().map(|text| Message::new("system", text));
        let messages: Vec<Message> =
            system.into_iter().chain([Message::new("user", &text)]).collect();
        Ok(template.render(&messages, options)?)
    }
}
