//! A question in CommonsenseQA's Hugging Face schema, extended by free answers and a
//! grader.

use serde::{Deserialize, Serialize};

use crate::grading::{Grader, reads_key};
use crate::prompt::PromptFormat;

/// The choices of a question: letters and texts in the same order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choices {
    /// Letters, "A" onwards.
    pub label: Vec<String>,
    /// Texts, one per letter.
    pub text: Vec<String>,
}

impl Choices {
    /// Whether there are no choices: the answer is free.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.label.is_empty() && self.text.is_empty()
    }
}

/// One question.
///
/// ```
/// use tokenroute_core::{Question, grade};
///
/// let question: Question = serde_json::from_str(
///     r#"{
///         "id": "q1",
///         "question": "Where are horses raced?",
///         "choices": { "label": ["A", "B"], "text": ["library", "track"] },
///         "answerKey": "B"
///     }"#,
/// )?;
/// question.check()?;
/// assert_eq!(question.prompt(), "Where are horses raced?\nlibrary A track B\n");
/// assert!(grade(&question, "They need space. The answer is track (B).", true));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Unique in its data set.
    pub id: String,
    /// The question itself.
    pub question: String,
    /// The choices. Empty if the answer is free.
    #[serde(default, skip_serializing_if = "Choices::is_empty")]
    pub choices: Choices,
    /// Letter of the right choice, or the right free answer.
    #[serde(rename = "answerKey")]
    pub answer_key: String,
    /// How an answer is graded.
    #[serde(default, skip_serializing_if = "is_default")]
    pub grader: Grader,
    /// A rationale that ends in the answer, if the data set has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cot: Option<String>,
    /// Kind of question, if the data set gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Number of reasoning steps, if the data set gives it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    /// The values that determine the solution, if the data set gives them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operands: Option<Vec<String>>,
    /// Identity of what judges answers, if the grader [is asked](Grader::is_asked): a hash.
    /// Experiments set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

fn is_default(grader: &Grader) -> bool {
    *grader == Grader::default()
}

impl Question {
    /// The prompt in the bundled pair's format: [`PromptFormat::default`].
    #[must_use]
    pub fn prompt(&self) -> String {
        PromptFormat::default().fill(self)
    }

    /// Checks that fields are not empty, that there is one text per letter, that the answer
    /// key is one of the letters, and that the grader can grade it.
    ///
    /// # Errors
    /// [`QuestionError`] names the first problem.
    pub fn check(&self) -> Result<(), QuestionError> {
        let bad = |what: &str| QuestionError { id: self.id.clone(), what: what.to_owned() };
        if self.id.is_empty() {
            return Err(bad("`id` is empty"));
        }
        if self.question.trim().is_empty() {
            return Err(bad("`question` is empty"));
        }
        if self.answer_key.is_empty() {
            return Err(bad("`answerKey` is empty; expected the letter of the right choice"));
        }
        if self.choices.is_empty() && !self.grader.needs_choices() {
            return self.check_free(bad);
        }
        if self.choices.label.len() != self.choices.text.len() || self.choices.label.len() < 2 {
            return Err(bad("`choices` needs at least two letters and one text for each letter"));
        }
        if !self.grader.needs_choices() {
            return self.check_free(bad);
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

    fn check_free(&self, bad: impl Fn(&str) -> QuestionError) -> Result<(), QuestionError> {
        let (name, expected) = match self.grader {
            grader if grader.is_asked() => return Ok(()),
            _ if reads_key(self) => return Ok(()),
            Grader::FinalNumber => ("final-number", "a number of at most 30 digits"),
            Grader::YesNo => ("yes-no", "yes, no, true or false"),
            _ => ("latex", "a formula or a word"),
        };
        let key = &self.answer_key;
        Err(bad(&format!("`answerKey` is {key:?}; the grader {name} expects {expected}")))
    }
}

/// A question that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("question {id:?}: {what}")]
pub struct QuestionError {
    /// The question's id.
    pub id: String,
    /// The problem and what was expected.
    pub what: String,
}
