//! Turns a question into the tokens of its prompt: the experiment's format, and the model's
//! chat template if the experiment uses it.

use std::path::Path;

use anyhow::{Context, Result as AnyResult, bail};
use tokenroute_core::{PromptFormat, Question, TokenId};
use tokenroute_model::{ChatOptions, ChatTemplate, Message, Tokenizer};

/// A prompt format, ready for one model.
pub struct Prompter<'f> {
    format: &'f PromptFormat,
    chat: Option<(ChatTemplate, ChatOptions)>,
}

impl<'f> Prompter<'f> {
    /// Reads the chat template of a model if the format asks for one.
    pub fn new(format: &'f PromptFormat, model: &Path) -> AnyResult<Self> {
        let mut chat = None;
        if format.chat {
            let template = ChatTemplate::read(model)?.with_context(|| {
                format!(
                    "{} has no chat template; expected chat_template.jinja or `chat_template` in tokenizer_config.json (`tokenizer.chat_template` in a GGUF file), or set data.prompt.chat = false",
                    model.display()
                )
            })?;
            chat = Some((template, options(format).map_err(anyhow::Error::msg)?));
        }
        Ok(Prompter { format, chat })
    }

    /// Checks that a question and its choices spell no special token.
    ///
    /// # Errors
    /// Names the question and the token.
    pub fn check_plain(question: &Question, tokenizer: &Tokenizer) -> AnyResult<()> {
        let texts = [&question.question].into_iter().chain(&question.choices.text);
        for text in texts.chain(&question.choices.label) {
            if let Some(token) = tokenizer.special_token_in(text) {
                bail!(
                    "question {} spells the special token {token}, which would become a control token; correct it, or set data.allow_special_tokens = true",
                    question.id
                );
            }
        }
        Ok(())
    }

    /// The tokens of one question. A chat template writes the first tokens itself; a plain
    /// prompt gets them from the tokenizer.
    pub fn prompt(&self, question: &Question, tokenizer: &Tokenizer) -> AnyResult<Vec<TokenId>> {
        let Some((template, options)) = &self.chat else {
            return Ok(tokenizer.encode_prompt(&self.format.plain(question))?);
        };
        let messages = Self::messages(self.format, question);
        Ok(tokenizer.encode(&template.render(&messages, options)?)?)
    }

    /// The messages of one question, for a chat template.
    pub(crate) fn messages(format: &PromptFormat, question: &Question) -> Vec<Message> {
        let system = format.system.as_deref().map(|text| Message::new("system", text));
        let mut messages: Vec<Message> = system.into_iter().collect();
        for (asked, answer) in format.turns() {
            messages.extend([Message::new("user", &asked), Message::new("assistant", answer)]);
        }
        messages.push(Message::new("user", &format.fill(question)));
        messages
    }
}

/// The inputs of a chat template.
///
/// # Errors
/// A date that is no day, or a variable that is set otherwise, in words.
pub(crate) fn options(format: &PromptFormat) -> Result<ChatOptions, String> {
    let date = match &format.date {
        None => None,
        Some(text) => Some(
            text.parse().map_err(|_| format!("date is {text:?}; expected a day as 2025-07-01"))?,
        ),
    };
    let variables = format.chat_template_kwargs.clone();
    let options = ChatOptions { date, variables, ..Default::default() };
    match options.reserved_variable() {
        Some(name) => Err(format!(
            "chat_template_kwargs sets `{name}`, which is set from the questions and the date; remove it"
        )),
        None => Ok(options),
    }
}

#[cfg(test)]
mod tests {
    use tokenroute_core::{Choices, Grader};

    use super::*;

    #[test]
    fn a_first_token_is_written_once_by_the_template_or_by_the_tokenizer() {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        let text = std::fs::read_to_string(models.join("word-problems-slm/tokenizer.json"));
        let mut json: serde_json::Value =
            serde_json::from_str(&text.expect("a tokenizer")).expect("JSON");
        let first = json["added_tokens"][0].clone();
        let (id, content) = (&first["id"], &first["content"]);
        json["post_processor"] = serde_json::json!({
            "type": "TemplateProcessing", "pair": [],
            "single": [{"SpecialToken": {"id": content, "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {content.as_str().expect("text"): {
                "id": content, "ids": [id], "tokens": [content]}},
        });
        let dir = tempfile::tempdir().expect("a directory");
        let put = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("a write");
            path
        };
        let tokenizer = Tokenizer::read(&put("tokenizer.json", json.to_string()));
        let tokenizer = tokenizer.expect("a tokenizer");
        put(
            "chat_template.jinja",
            format!("{}{{{{ messages[0].content }}}}", content.as_str().unwrap_or("")),
        );
        let question = Question {
            id: "q".into(),
            question: "Mia has 3 apples.".into(),
            choices: Choices::default(),
            answer_key: "3".into(),
            grader: Grader::FinalNumber,
            cot: None,
            family: None,
            steps: None,
            operands: None,
            program: None,
        };
        let template = "{question}".to_owned();
        let format = |chat| PromptFormat { chat, template: template.clone(), ..Default::default() };
        let ids = |chat| {
            let format = format(chat);
            let prompter = Prompter::new(&format, dir.path()).expect("a prompter");
            prompter.prompt(&question, &tokenizer).expect("a prompt")
        };
        let plain = tokenizer.encode(&question.question).expect("ids");
        let expected: Vec<TokenId> =
            id.as_u64().map(|id| id as TokenId).into_iter().chain(plain.clone()).collect();
        assert_eq!(ids(false), expected);
        assert_eq!(ids(true), expected);

        put(
            "chat_template.jinja",
            "{{ messages[0].content }}{% if not enable_thinking %} 4{% endif %}".to_owned(),
        );
        let ids = |kwargs: &str| {
            let text = format!("chat = true\ntemplate = '{{question}}'\n{kwargs}");
            let format: PromptFormat = toml::from_str(&text).expect("a format");
            let prompter = Prompter::new(&format, dir.path()).expect("a prompter");
            prompter.prompt(&question, &tokenizer).expect("a prompt")
        };
        let thinking = ids("chat_template_kwargs = { enable_thinking = true }");
        let quiet = ids("chat_template_kwargs = { enable_thinking = false }");
        assert_eq!(thinking, plain);
        assert!(quiet.starts_with(&plain) && quiet.len() > plain.len());
        assert_eq!(ids(""), quiet, "an undefined variable is false");
        let reserved = PromptFormat {
            chat_template_kwargs: [("messages".to_owned(), "none".into())].into(),
            ..format(true)
        };
        let error = options(&reserved).expect_err("a variable of every prompt");
        assert!(error.contains("`messages`"), "{error}");

        Prompter::check_plain(&question, &tokenizer).expect("a plain question");
        let token = content.as_str().expect("text");
        for (question_text, choice) in [(format!("a{token}b"), ""), ("a".into(), token)] {
            let choices = Choices { label: vec!["A".into()], text: vec![choice.into()] };
            let spoilt = Question { question: question_text, choices, ..question.clone() };
            let error = Prompter::check_plain(&spoilt, &tokenizer).expect_err("a special token");
            let error = error.to_string();
            let words = ["question q", token, "data.allow_special_tokens"];
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
