//! Prompt formats: how a question becomes text, as an experiment file says it.

use serde::{Deserialize, Serialize};

use crate::Question;

/// How a question becomes a prompt. The default is the bundled pair's format: the
/// question, a line with the choices, each followed by its letter (which small
/// models find most easily), a line break.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PromptFormat {
    /// The prompt, or the user's message with `chat`. `{question}` and `{choices}`
    /// stand for the question and all its choices; `{{` and `}}` for braces.
    pub template: String,
    /// One choice: `{label}` and `{text}`.
    pub choice: String,
    /// Between choices.
    pub separator: String,
    /// Whether the model's own chat template is put around the prompt.
    pub chat: bool,
    /// The system message, with `chat` only; without it the template's own default holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// What a chat template takes for today, as "2025-07-01": a prompt must not
    /// change from day to day. Without it a template falls back on its own date.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
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
        }
    }
}

impl PromptFormat {
    /// Checks the places in the templates and that they go together.
    ///
    /// # Errors
    /// [`PromptError`] naming the key.
    pub fn check(&self) -> Result<(), PromptError> {
        let places = places(&self.template, &["question", "choices"])
            .map_err(|what| PromptError { key: "template", what })?;
        if !places.contains(&"question") {
            let what = format!("{:?} has no {{question}}", self.template);
            return Err(PromptError { key: "template", what });
        }
        self::places(&self.choice, &["label", "text"])
            .map_err(|what| PromptError { key: "choice", what })?;
        for (key, given) in [("system", &self.system), ("date", &self.date)] {
            if given.is_some() && !self.chat {
                let what = "it needs `chat = true`; add that or leave it out".to_owned();
                return Err(PromptError { key, what });
            }
        }
        Ok(())
    }

    /// The prompt of a question. What a question says is never read as a place.
    #[must_use]
    pub fn fill(&self, question: &Question) -> String {
        let choices = question.choices.text.iter().zip(&question.choices.label);
        let choices: Vec<String> = choices
            .map(|(text, label)| fill(&self.choice, &[("text", text), ("label", label)]))
            .collect();
        let choices = choices.join(&self.separator);
        fill(&self.template, &[("question", &question.question), ("choices", &choices)])
    }
}

/// A prompt format that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("prompt `{key}`: {what}")]
pub struct PromptError {
    /// The key of the experiment file's prompt section.
    pub key: &'static str,
    /// What is wrong and what was expected.
    pub what: String,
}

/// Literal text, or the name of a place.
enum Part<'t> {
    Text(&'t str),
    Place(&'t str),
    Unclosed(&'t str),
}

fn parts(template: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let at = match rest.find(['{', '}']) {
            None if rest.is_empty() => return None,
            None => return Some(Part::Text(std::mem::take(&mut rest))),
            Some(0) => 0,
            Some(at) => {
                let text;
                (text, rest) = rest.split_at(at);
                return Some(Part::Text(text));
            }
        };
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            rest = &tail[2..];
            return Some(Part::Text(&tail[..1]));
        }
        let Some(end) = tail.find('}').filter(|&end| end > 0) else {
            rest = "";
            return Some(Part::Unclosed(tail));
        };
        rest = &tail[end + 1..];
        Some(Part::Place(&tail[1..end]))
    })
}

fn places<'t>(template: &'t str, known: &[&str]) -> Result<Vec<&'t str>, String> {
    let mut found = Vec::new();
    for part in parts(template) {
        match part {
            Part::Text(_) => {}
            Part::Place(name) if known.contains(&name) => found.push(name),
            Part::Place(name) => {
                let known = known.join("}, {");
                return Err(format!(
                    "{{{name}}} is unknown; expected {{{known}}}, or {{{{ for a brace"
                ));
            }
            Part::Unclosed(rest) => {
                return Err(format!(
                    "the brace at {rest:?} has no partner; write {{{{ or }}}} for a brace"
                ));
            }
        }
    }
    Ok(found)
}

fn fill(template: &str, values: &[(&str, &str)]) -> String {
    parts(template)
        .map(|part| match part {
            Part::Text(text) | Part::Unclosed(text) => text,
            Part::Place(name) => {
                values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
            }
        })
        .collect()
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
    fn bad_formats_are_named() {
        let good = PromptFormat::default();
        let with = |template: &str| PromptFormat { template: template.into(), ..good.clone() };
        let cases = [
            (with("{choices}"), "has no {question}"),
            (with("{question} {answer}"), "{answer} is unknown"),
            (with("{question} {choices"), "no partner"),
            (with("{question} }"), "no partner"),
            (
                PromptFormat { choice: "{letter}".into(), ..good.clone() },
                "`choice`: {letter} is unknown",
            ),
            (
                PromptFormat { system: Some("Be brief.".into()), ..good.clone() },
                "needs `chat = true`",
            ),
        ];
        for (format, expected) in cases {
            let error = format.check().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
