//! Grading: the answer that a text commits to, and whether it is right. There is one
//! [`Grader`] per kind of answer. All are pure functions of question, text and whether the
//! text ended by itself.

mod cue;
mod latex;
mod letters;
mod numbers;
mod texts;
mod thinking;
mod words;
mod yes_no;

use serde::{Deserialize, Serialize};

use crate::Question;
use latex::Expression;
use numbers::Number;
pub use thinking::{after_thinking, within_thinking};

/// How an answer is graded. Each question carries its grader, so every stage grades alike.
/// A text that commits to no answer is wrong. A model's thinking is no part of its answer
/// ([`after_thinking`]). The first complete marker ("the answer is",
/// `\boxed{…}`, `####`) counts, unless the text corrects itself right after it ("Wait, …").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Grader {
    /// The first parenthesised letter after "answer is", as the bundled pair writes it. See
    /// [`answer_letter`].
    #[default]
    StatedLetter,
    /// A choice's letter in any usual form: `\boxed{B}`, "Answer: B", "(b)", "B. bank".
    ChoiceLetter,
    /// A choice's text, compared without case, punctuation and articles.
    ChoiceText,
    /// A choice's letter if there is one, else its text.
    Choice,
    /// A number, compared by value. The first of these that exists counts: the boxed one,
    /// the one after `####`, the one stated as the answer, the last one of the text.
    FinalNumber,
    /// Free text, compared without case, punctuation and articles. The first of these that
    /// exists counts: the boxed text, the line after `####`, the sentence stated as the
    /// answer, the last line.
    Text,
    /// Yes or no, "true" and "false" included. The first of these that exists counts: the
    /// boxed one, the one after `####`, the one stated as the answer, the word that the answer
    /// or its last line begins with.
    YesNo,
    /// LaTeX, compared after MATH's and Minerva's normalisation, numbers by value. The first
    /// of these that exists counts: the boxed one, the line after `####`, the formula or
    /// sentence stated as the answer, the last formula of the last line, or that line.
    Latex,
    /// A program of the user's judges the answer. Experiments run it; [`grade`] does not.
    Command,
    /// A language model on a server judges the answer. Experiments ask it; [`grade`] does not.
    Judge,
}

impl Grader {
    /// Whether something outside this program judges: a program of the user's, or a server.
    #[must_use]
    pub fn is_asked(self) -> bool {
        matches!(self, Grader::Command | Grader::Judge)
    }

    /// Whether the grader needs a question with choices.
    #[must_use]
    pub fn needs_choices(self) -> bool {
        matches!(
            self,
            Grader::StatedLetter | Grader::ChoiceLetter | Grader::ChoiceText | Grader::Choice
        )
    }
}

/// What a text commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Commitment {
    /// Index of a choice.
    Choice(usize),
    Number(Number),
    /// Normalised free text.
    Text(String),
    Yes(bool),
    Latex(Expression),
}

/// The letter that an answer commits to: the first parenthesised choice letter after
/// "answer is", as in "…the answer is 12 (B)."
#[must_use]
pub fn answer_letter<'q>(question: &'q Question, answer: &str) -> Option<&'q str> {
    let labels = &question.choices.label;
    letters::stated_in_parentheses(labels, answer).map(|choice| labels[choice].as_str())
}

/// Whether an answer is right by the question's own [`Grader`]. `ended` is false for an
/// answer that was cut at its greatest length. Such an answer is right only if its marker is
/// complete: no further text could change what it commits to. No answer is right here by a grader
/// that [is asked](Grader::is_asked).
///
/// ```
/// use tokenroute_core::{Grader, Question, grade};
///
/// let question: Question = serde_json::from_str(
///     r#"{ "id": "q2", "question": "3 · 6?", "answerKey": "18", "grader": "final-number" }"#,
/// )?;
/// assert_eq!(question.grader, Grader::FinalNumber);
/// assert!(grade(&question, "3 · 6 = 18", true));
/// assert!(!grade(&question, "#### 17", true));
/// // Cut: "#### 18" might have gone on to 180, and "3 · 6 = 18" has no marker.
/// assert!(!grade(&question, "#### 18", false));
/// assert!(grade(&question, "#### 18\n", false));
/// assert!(!grade(&question, "3 · 6 = 18, so", false));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn grade(question: &Question, answer: &str, ended: bool) -> bool {
    let right = right(question);
    right.is_some() && right == commitment(question, answer, ended)
}

/// Whether two answers commit to the same, whether right or wrong. Two answers that commit
/// to nothing are the same.
///
/// ```
/// use tokenroute_core::{Question, same_answer};
///
/// let question: Question = serde_json::from_str(
///     r#"{ "id": "q2", "question": "3 · 6?", "answerKey": "18", "grader": "final-number" }"#,
/// )?;
/// assert!(same_answer(&question, ("The answer is 17.", true), ("#### 17", true)));
/// assert!(!same_answer(&question, ("The answer is 17.", true), ("#### 17", false)));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[must_use]
pub fn same_answer(question: &Question, a: (&str, bool), b: (&str, bool)) -> bool {
    commitment(question, a.0, a.1) == commitment(question, b.0, b.1)
}

/// What a text commits to. With `ended` false only what no next character can change.
fn commitment(question: &Question, answer: &str, ended: bool) -> Option<Commitment> {
    let answer = cue::before_next_question(after_thinking(answer)?);
    if ended {
        return committed(question, answer, true);
    }
    let mut continued = String::with_capacity(answer.len() + 1);
    let mut with = |next: &str| {
        continued.clear();
        continued.push_str(answer);
        continued.push_str(next);
        committed(question, &continued, false)
    };
    let first = with(" ")?;
    ["5", "x"].iter().all(|next| with(next).as_ref() == Some(&first)).then_some(first)
}

/// What a text commits to. With `ended` false a marker is needed, and its sentence must end.
fn committed(question: &Question, answer: &str, ended: bool) -> Option<Commitment> {
    let choices = &question.choices;
    let letter = || letters::committed(&choices.label, answer, ended);
    let text = || {
        let choice = texts::chosen(&choices.text, answer, ended)?;
        Some(first_alike(&choices.text, choice))
    };
    match question.grader {
        Grader::StatedLetter => {
            letters::stated_in_parentheses(&choices.label, answer).map(Commitment::Choice)
        }
        Grader::ChoiceLetter => letter().map(Commitment::Choice),
        Grader::ChoiceText => text().map(Commitment::Choice),
        Grader::Choice => {
            let letter = letter().map(|choice| first_alike(&choices.text, choice));
            letter.or_else(text).map(Commitment::Choice)
        }
        Grader::FinalNumber => numbers::committed(answer, ended).map(Commitment::Number),
        Grader::Text => texts::committed(answer, ended).map(Commitment::Text),
        Grader::YesNo => yes_no::committed(answer, ended).map(Commitment::Yes),
        Grader::Latex => latex::committed(answer, ended).map(Commitment::Latex),
        // Others judge whole answers.
        Grader::Command | Grader::Judge => Some(Commitment::Text(answer.trim().to_owned())),
    }
}

/// The commitment of a right answer.
fn right(question: &Question) -> Option<Commitment> {
    let key = question.answer_key.as_str();
    match question.grader {
        Grader::FinalNumber => numbers::whole(key).map(Commitment::Number),
        Grader::Text => Some(Commitment::Text(texts::normalise(key))),
        Grader::YesNo => yes_no::whole(key).map(Commitment::Yes),
        Grader::Latex => latex::expression(key).map(Commitment::Latex),
        Grader::Command | Grader::Judge => None,
        grader => {
            let choice = question.choices.label.iter().position(|label| label == key)?;
            let by_text = matches!(grader, Grader::ChoiceText | Grader::Choice);
            let alike = || first_alike(&question.choices.text, choice);
            Some(Commitment::Choice(if by_text { alike() } else { choice }))
        }
    }
}

/// The first choice whose text equals this one's.
fn first_alike(texts: &[String], choice: usize) -> usize {
    let text = |i: usize| texts::normalise(&texts[i]);
    if choice >= texts.len() {
        return choice;
    }
    (0..choice).find(|&i| text(i) == text(choice)).unwrap_or(choice)
}

/// The yes or no that a text is, as [`Grader::YesNo`] requires of the answer key.
#[must_use]
pub fn yes_or_no(text: &str) -> Option<bool> {
    yes_no::whole(text)
}

/// The content of the last `\boxed{…}` of a text: the answer of one of MATH's solutions.
#[must_use]
pub fn last_boxed(text: &str) -> Option<&str> {
    latex::last_box(text)
}

/// Whether a right answer may exist: whether the grader can read the question's key.
pub(crate) fn reads_key(question: &Question) -> bool {
    right(question).is_some()
}

/// Whether a text is one number, as [`Grader::FinalNumber`] requires of the answer key.
#[must_use]
pub fn is_number(text: &str) -> bool {
    numbers::whole(text).is_some()
}

#[cfg(test)]
mod tests;
