//! Prompt formats: how a question becomes text. The `[prompt]` section of an experiment
//! file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Question;
use crate::template::{fill, places};

/// How a question becomes a prompt. The default is the bundled pair's format: the question,
/// then a line with the choices, each followed by its letter. Small models copy a letter
/// more easily when it follows the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct PromptFormat {
    /// The prompt, or with `chat` the user's message. `{question}` and `{choices}` stand
    /// for the question and all its choices, `{{` and `}}` for braces.
    pub template: String,
    /// One choice. `{label}` and `{text}` stand for its letter and its text.
    pub choice: String,
    /// Text between two choices.
    pub separator: String,
    /// Whether the model's own chat template wraps the prompt.
    pub chat: bool,
    /// The system message, with `chat` only. Without it the template's own default holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Today's date for chat templates that print it, such as "2025-07-01". A fixed date
    /// keeps prompts the same from day to day. Without it a template uses its own fallback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// Further variables of the chat template, such as `{ enable_thinking = false }`, with `chat`
    /// only.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub chat_template_kwargs: BTreeMap<String, Value>,
    /// Text after each example's answer; an empty line by default. It also ends the models'
    /// answers: they are graded up to it. Not allowed with `chat`, where each example is a
    /// message of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between: Option<String>,
    /// Few-shot examples: answered questions before every prompt, in the same format.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

/// A few-shot example: a question with its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// The question.
    pub question: String,
    /// Texts of its choices, lettered from A. Empty if the answer is free.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// The whole answer, as the model should write it.
    pub answer: String,
}

impl Default for PromptFormat {
    fn default() -> Self {
        PromptFormat {
            template: "{question}\n{choices}\n".to_owned(),
            choice: "{text} {label}".to_owned(),
            separator: " ".to_owned(),
            chat: false,
            system: None,
            date: None,
            chat_template_kwargs: BTreeMap::new(),
            between: None,
            examples: Vec::new(),
        }
    }
}

impl PromptFormat {
    /// Checks the placeholders and that the keys fit together.
    ///
    /// # Errors
    /// [`PromptError`] names the key.
    pub fn check(&self) -> Result<(), PromptError> {
        let found = places(&self.template, &["question", "choices"])
            .map_err(|what| PromptError { key: "template", what })?;
        if !found.contains(&"question") {
            let what = format!("{:?} has no {{question}}", self.template);
            return Err(PromptError { key: "template", what });
        }
        places(&self.choice, &["label", "text"])
            .map_err(|what| PromptError { key: "choice", what })?;
        let kwargs = !self.chat_template_kwargs.is_empty();
        for (key, given) in [
            ("system", self.system.is_some()),
            ("date", self.date.is_some()),
            ("chat_template_kwargs", kwargs),
        ] {
            if given && !self.chat {
                let what = "needs `chat = true`; add it or remove this key".to_owned();
                return Err(PromptError { key, what });
            }
        }
        if self.between.is_some() && (self.chat || self.examples.is_empty()) {
            let what = "needs `examples` and `chat = false`; remove it".to_owned();
            return Err(PromptError { key: "between", what });
        }
        if self.between.as_deref() == Some("") {
            let what = "is empty; expected the text that ends each answer".to_owned();
            return Err(PromptError { key: "between", what });
        }
        let separator = self.answer_separator();
        for (i, example) in self.examples.iter().enumerate() {
            let what = if example.question.trim().is_empty() || example.answer.trim().is_empty() {
                "has no question or no answer".to_owned()
            } else if example.choices.len() > 26 {
                format!("has {} choices; expected at most 26", example.choices.len())
            } else if let Some(text) = separator.filter(|&text| example.answer.contains(text)) {
                format!(
                    "has {text:?} in its answer, which ends an answer; set `between` to another text"
                )
            } else {
                continue;
            };
            return Err(PromptError { key: "examples", what: format!("number {} {what}", i + 1) });
        }
        Ok(())
    }

    /// The text of one question without examples; with `chat`, the user's message. Braces
    /// in the question itself are never placeholders.
    #[must_use]
    pub fn fill(&self, question: &Question) -> String {
        let choices = question.choices.label.iter().zip(&question.choices.text);
        self.ask(&question.question, choices.map(|(label, text)| (label.as_str(), text.as_str())))
    }

    /// The examples as (prompt, answer).
    pub fn turns(&self) -> impl Iterator<Item = (String, &str)> {
        self.examples.iter().map(|example| {
            let letters: Vec<String> = ('A'..='Z').map(String::from).collect();
            let choices = letters.iter().map(String::as_str);
            let choices = choices.zip(example.choices.iter().map(String::as_str));
            (self.ask(&example.question, choices), example.answer.as_str())
        })
    }

    /// The whole prompt without a chat template: the examples, then the question.
    #[must_use]
    pub fn plain(&self, question: &Question) -> String {
        let between = self.separated_by();
        let examples = self.turns().map(|(asked, answer)| format!("{asked}{answer}{between}"));
        examples.chain([self.fill(question)]).collect()
    }

    /// The text that ends an answer: what stands between examples, which a model may go on
    /// with. `None` without examples and with `chat`.
    #[must_use]
    pub fn answer_separator(&self) -> Option<&str> {
        (!self.chat && !self.examples.is_empty()).then(|| self.separated_by())
    }

    fn separated_by(&self) -> &str {
        self.between.as_deref().unwrap_or("\n\n")
    }

    fn ask<'c>(&self, question: &str, choices: impl Iterator<Item = (&'c str, &'c str)>) -> String {
        let choices: Vec<String> = choices
            .map(|(label, text)| fill(&self.choice, &[("text", text), ("label", label)]))
            .collect();
        let choices = choices.join(&self.separator);
        fill(&self.template, &[("question", question), ("choices", &choices)])
    }
}

/// A prompt format that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("prompt `{key}`: {what}")]
pub struct PromptError {
    /// The key of the experiment file's prompt section.
    pub key: &'static str,
    /// The problem and what was expected.
    pub what: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Choices, Grader};

    fn question(text: &str) -> Question {
        Question {
            id: "q".into(),
            question: text.into(),
            choices: Choices {
                label: vec!["A".into(), "B".into()],
                text: vec!["cat {label}".into(), "dog".into()],
            },
            answer_key: "B".into(),
            grader: Grader::Choice,
            cot: None,
            family: None,
            steps: None,
            operands: None,
            program: None,
        }
    }

    #[test]
    fn the_default_is_the_bundled_format() {
        assert_eq!(question("Who barks?").prompt(), "Who barks?\ncat {label} A dog B\n");
    }

    #[test]
    fn values_are_never_read_as_places() {
        let format = PromptFormat {
            template: "{{Q}}: {question}\n{choices}\nAnswer:".into(),
            choice: "({label}) {text}".into(),
            separator: "\n".into(),
            ..Default::default()
        };
        format.check().expect("a good format");
        let prompt = format.fill(&question("What is {choices}?"));
        assert_eq!(prompt, "{Q}: What is {choices}?\n(A) cat {label}\n(B) dog\nAnswer:");
    }

    #[test]
    fn examples_come_first_in_the_same_format() {
        let example = |question: &str, choices: &[&str], answer: &str| Example {
            question: question.into(),
            choices: choices.iter().map(|&text| text.into()).collect(),
            answer: answer.into(),
        };
        let format = PromptFormat {
            template: "Q: {question} {choices}\nA:".into(),
            examples: vec![example("{Who}?", &["me", "you"], " A"), example("Why?", &[], " So.")],
            ..PromptFormat::default()
        };
        assert_eq!(
            format.plain(&question("What?")),
            "Q: {Who}? me A you B\nA: A\n\nQ: Why? \nA: So.\n\nQ: What? cat {label} A dog B\nA:"
        );
        let asked: Vec<_> = format.turns().collect();
        assert_eq!(asked[1], ("Q: Why? \nA:".to_owned(), " So."));
        let tight = PromptFormat { between: Some("|".into()), ..format };
        assert!(tight.plain(&question("What?")).contains("A: So.|Q: What?"));
        assert_eq!(tight.check(), Ok(()));
        assert_eq!(tight.answer_separator(), Some("|"));
        let default = PromptFormat { between: None, ..tight.clone() };
        assert_eq!(default.answer_separator(), Some("\n\n"));
        let chat = PromptFormat { chat: true, ..default.clone() };
        assert_eq!(
            (chat.answer_separator(), PromptFormat::default().answer_separator()),
            (None, None)
        );
        for (spoilt, words) in [
            (PromptFormat { chat: true, ..tight.clone() }, "`between`: needs `examples`"),
            (PromptFormat { examples: vec![], ..tight.clone() }, "`between`: needs `examples`"),
            (PromptFormat { between: Some(String::new()), ..tight.clone() }, "`between`: is empty"),
            (
                PromptFormat { examples: vec![example("?", &[], "a|b")], ..tight.clone() },
                "number 1 has \"|\" in its answer",
            ),
            (PromptFormat { examples: vec![example("?", &[], " ")], ..tight }, "number 1 has no"),
        ] {
            let error = spoilt.check().expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn bad_formats_are_named() {
        let good = PromptFormat::default();
        let with = |template: &str| PromptFormat { template: template.into(), ..good.clone() };
        let cases = [
            (with("{choices}"), "has no {question}"),
            (with("{question} {answer}"), "{answer} is unknown"),
            (with("{question} {choices"), "is not matched"),
            (with("{question} }"), "is not matched"),
            (
                PromptFormat { choice: "{letter}".into(), ..good.clone() },
                "`choice`: {letter} is unknown",
            ),
            (
                PromptFormat { system: Some("Be brief.".into()), ..good.clone() },
                "needs `chat = true`",
            ),
            (
                PromptFormat {
                    chat_template_kwargs: [("a".to_owned(), Value::Null)].into(),
                    ..good.clone()
                },
                "`chat_template_kwargs`: needs `chat = true`",
            ),
        ];
        for (format, expected) in cases {
            let error = format.check().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
