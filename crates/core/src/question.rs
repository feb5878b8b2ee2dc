//! A multiple-choice question in CommonsenseQA's Hugging Face schema, with what
//! this project adds, and the prompt made from it.

use serde::{Deserialize, Serialize};

/// The choices of a question, letter and text side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// Letters, "A" onwards.
    pub label: Vec<String>,
    /// Texts, one per letter.
    pub text: Vec<String>,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Unique in its data set.
    pub id: String,
    /// The question itself.
    pub question: String,
    /// What may be answered.
    pub choices: Choices,
    /// Letter of the right choice.
    #[serde(rename = "answerKey")]
    pub answer_key: String,
    /// A rationale that ends in the answer, where the data set has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cot: Option<String>,
    /// Kind of question, where the data set tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Reasoning steps, where the data set tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// Everything that determines the solution, where the data set tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operands: Option<Vec<String>>,
}

impl Question {
    /// The prompt: the question, a line with the choices, a line break. A letter
    /// directly follows its choice's text, which small models find most easily.
    #[must_use]
    pub fn prompt(&self) -> String {
        let choices = self.choices.text.iter().zip(&self.choices.label);
        let choices: Vec<String> = choices.map(|(text, label)| format!("{text} {label}")).collect();
        format!("{}\n{}\n", self.question, choices.join(" "))
    }

    /// Checks what the type cannot: non-empty fields, as many letters as texts,
    /// an answer key among the letters.
    ///
    /// # Errors
    /// The first thing found wrong.
    pub fn check(&self) -> Result<(), QuestionError> {
        let bad = |what: &str| QuestionError { id: self.id.clone(), what: what.to_owned() };
        if self.id.is_empty() {
            return Err(bad("`id` is empty"));
        }
        if self.question.trim().is_empty() {
            return Err(bad("`question` is empty"));
        }
        if self.choices.label.len() != self.choices.text.len() || self.choices.label.len() < 2 {
            return Err(bad("`choices` needs at least two letters and one text for each letter"));
        }
        if self.answer_key.is_empty() {
            return Err(bad("`answerKey` is empty; expected the letter of the right choice"));
        }
        if !self.choices.label.contains(&self.answer_key) {
            return Err(bad(&format!(
                "`answerKey` is {:?}; expected one of {}",
                self.answer_key,
                self.choices.label.join(", ")
            )));
        }
        Ok(())
    }
}

/// What is wrong with a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("question {id:?}: {what}")]
pub struct QuestionError {
    /// The question's id.
    pub id: String,
    /// What is wrong and what was expected.
    pub what: String,
}
