//! Grading: the answer that a text commits to, and whether it is right. There is one
//! [`Grader`] per kind of answer. All are pure functions of question and text.

mod cue;
mod letters;
mod numbers;
mod texts;

use serde::{Deserialize, Serialize};

use crate::Question;

/// How an answer is graded. Each question carries its grader, so every stage grades alike.
/// A text that commits to no answer is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Grader {
    /// The last parenthesised letter after the last "answer is", as the bundled pair writes
    /// it. See [`answer_letter`].
    #[default]
    StatedLetter,
    /// A choice's letter in any usual form: `\boxed{B}`, "Answer: B", "(b)", "B. bank".
    ChoiceLetter,
    /// A choice's text, compared without case, punctuation and articles.
    ChoiceText,
    /// A choice's letter if there is one, else its text.
    Choice,
    /// A number, compared by value. The first of these that exists counts: the last boxed
    /// one, the one after the last `####`, the one stated as the answer, the last one of
    /// the text.
    FinalNumber,
    /// Free text, compared without case, punctuation and articles. The first of these that
    /// exists counts: the last boxed text, the line after the last `####`, the sentence
    /// stated as the answer, the last line.
    Text,
}

impl Grader {
    /// Whether the grader needs a question with choices.
    #[must_use]
    pub fn needs_choices(self) -> bool {
        !matches!(self, Grader::FinalNumber | Grader::Text)
    }
}

/// The letter that an answer commits to: the last parenthesised choice letter after the
/// last "answer is", as in "…the answer is 12 (B)."
#[must_use]
pub fn answer_letter<'q>(question: &'q Question, answer: &str) -> Option<&'q str> {
    const CUE: &str = "answer is";
    let tail = &answer[answer.rfind(CUE)? + CUE.len()..];
    question
        .choices
        .label
        .iter()
        .filter_map(|label| tail.rfind(&format!("({label})")).map(|at| (at, label.as_str())))
        .max()
        .map(|(_, label)| label)
}

/// Whether the answer is right by the question's own [`Grader`].
///
/// ```
/// use tokenroute_core::{Grader, Question, grade};
///
/// let question: Question = serde_json::from_str(
///     r#"{ "id": "q2", "question": "3 · 6?", "answerKey": "18", "grader": "final-number" }"#,
/// )?;
/// assert_eq!(question.grader, Grader::FinalNumber);
/// assert!(grade(&question, "3 · 6 = 18"));
/// assert!(!grade(&question, "#### 17"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn grade(question: &Question, answer: &str) -> bool {
    let key = question.answer_key.as_str();
    let labels = &question.choices.label;
    match question.grader {
        Grader::StatedLetter => answer_letter(question, answer) == Some(key),
        Grader::ChoiceLetter => letters::committed(labels, answer) == Some(key),
        Grader::ChoiceText => chosen_text_is_right(question, answer),
        Grader::Choice => match letters::committed(labels, answer) {
            Some(letter) => letter == key,
            None => chosen_text_is_right(question, answer),
        },
        Grader::FinalNumber => {
            let right = numbers::whole(key);
            right.is_some() && numbers::committed(answer) == right
        }
        Grader::Text => texts::committed(answer) == texts::normalise(key),
    }
}

/// Whether a text is one number, as [`Grader::FinalNumber`] requires of the answer key.
#[must_use]
pub fn is_number(text: &str) -> bool {
    numbers::whole(text).is_some()
}

fn chosen_text_is_right(question: &Question, answer: &str) -> bool {
    let choices = &question.choices;
    let right = choices.label.iter().position(|label| *label == question.answer_key);
    let chosen = texts::chosen(&choices.text, answer);
    match (right, chosen) {
        (Some(right), Some(chosen)) => {
            texts::normalise(&choices.text[right]) == texts::normalise(&choices.text[chosen])
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
