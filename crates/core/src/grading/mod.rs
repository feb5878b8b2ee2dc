//! Grading: what an answer commits to, and whether that is right. One [`Grader`]
//! per kind of answer; all of them are pure functions of question and text.

mod cue;
mod letters;
mod numbers;
mod texts;

use serde::{Deserialize, Serialize};

use crate::Question;

/// How an answer is judged. A question carries its own, so that everyone who
/// grades it agrees. No commitment is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grader {
    /// The last parenthesised letter after the last "answer is": what the bundled
    /// pair is taught to write. See [`answer_letter`].
    #[default]
    StatedLetter,
    /// A choice's letter, in the ways people and models write one: `\boxed{B}`,
    /// "Answer: B", "(b)", "B. bank".
    ChoiceLetter,
    /// A choice's text, compared without case, punctuation and articles.
    ChoiceText,
    /// A choice's letter if there is one, else its text.
    Choice,
    /// The last number that is boxed, after `####`, stated as the answer, or else
    /// written at all; compared by value.
    FinalNumber,
    /// Free text: what is boxed, after `####`, stated as the answer, or else the
    /// last line, compared without case, punctuation and articles.
    Text,
}

impl Grader {
    /// Whether it chooses among a question's choices.
    #[must_use]
    pub fn needs_choices(self) -> bool {
        !matches!(self, Grader::FinalNumber | Grader::Text)
    }
}

/// The letter an answer commits to: the last parenthesised choice letter after
/// the last "answer is", as in "…the answer is 12 (B)."
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

/// Whether a text is one number, as [`Grader::FinalNumber`] needs for a key.
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
