//! `[data.columns]`: names the columns of any file, and turns a row into a question.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokenroute_core::{Choices, Grader, Question};

use super::cells::{cell, choices, optional, text};
use super::schema::{free, letter};

type Row = Map<String, Value>;

/// Names the columns of a file of questions. A name with dots finds a field within a column,
/// as in `question.stem`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ColumnMap {
    /// The question. Several columns are joined by line breaks.
    pub question: Names,
    /// The choices: one column with all of them (a list, or `label` and `text`), or one column
    /// for each choice. Empty cells at the end of a row are left out. Without it answers are
    /// free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choices: Option<Names>,
    /// The right answer.
    pub answer: String,
    /// What `answer` holds. Without it a letter, a choice's text, free text, or true and false
    /// of the file's format. A number that stands for a choice needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_is: Option<AnswerForm>,
    /// A rationale. If its own answer is not the right one, "The answer is …." is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rationale: Option<String>,
    /// A unique id. Without it the file's name and the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Kind of question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    /// Where the list of rows is in a JSON file that is one object, as in `data.questions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
}

/// A column, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, expecting = "expected the name of a column, or a list of names")]
pub enum Names {
    /// One column.
    One(String),
    /// Several, in this order.
    Several(Vec<String>),
}

/// What a column of answers holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AnswerForm {
    /// A choice's own label, or A, B, … if the choices have none.
    #[serde(rename = "letter")]
    Letter,
    /// A choice's place, counted from 0.
    #[serde(rename = "index-from-0")]
    IndexFromZero,
    /// A choice's place, counted from 1.
    #[serde(rename = "index-from-1")]
    IndexFromOne,
    /// A choice's text, or free text.
    #[serde(rename = "text")]
    Text,
    /// True or false, yes or no, 1 or 0. The question has no choices.
    #[serde(rename = "bool")]
    Bool,
}

impl ColumnMap {
    /// Checks that the map can work: the key, and what is wrong with its value.
    ///
    /// # Errors
    /// The first key that cannot.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let named = |names: &Names| match names {
            Names::One(name) => !name.is_empty(),
            Names::Several(names) => !names.is_empty() && names.iter().all(|n| !n.is_empty()),
        };
        if !named(&self.question) {
            return Err(("question", "is empty; expected the name of a column".to_owned()));
        }
        match &self.choices {
            Some(Names::Several(names)) if !(2..=26).contains(&names.len()) => {
                return Err((
                    "choices",
                    format!(
                        "has {} names; expected 2 to 26, or one name without brackets for a column with all choices",
                        names.len()
                    ),
                ));
            }
            Some(names) if !named(names) => {
                return Err(("choices", "has an empty name; expected names of columns".to_owned()));
            }
            _ => {}
        }
        match (self.answer_is, &self.choices) {
            (Some(AnswerForm::Bool), Some(_)) => Err((
                "answer_is",
                "is \"bool\", and `choices` is set; expected \"letter\", \"index-from-0\", \"index-from-1\" or \"text\"".to_owned(),
            )),
            (
                Some(AnswerForm::Letter | AnswerForm::IndexFromZero | AnswerForm::IndexFromOne),
                None,
            ) => Err(("answer_is", "names a choice, and `choices` is not set; name its columns, or use \"text\" or \"bool\"".to_owned())),
            _ => Ok(()),
        }
    }

    /// The question of a row, with the grader that fits its answer. Its id is empty if the map
    /// names none.
    pub(super) fn question(&self, row: &Row) -> Result<Question, String> {
        let text = match &self.question {
            Names::One(name) => text(row, name)?,
            Names::Several(names) => {
                let texts: Result<Vec<_>, _> = names.iter().map(|name| text(row, name)).collect();
                texts?.join("\n")
            }
        };
        let mut question = match &self.choices {
            Some(names) => {
                let (labels, texts) = choices(row, names)?;
                let key = self.choice(cell(row, &self.answer)?, &labels, &texts)?;
                let label = (0..texts.len()).map(letter).collect();
                let choices = Choices { label, text: texts };
                Question { choices, grader: Grader::Choice, ..free(text, key) }
            }
            None => {
                let (key, grader) = self.free_answer(cell(row, &self.answer)?)?;
                Question { grader, ..free(text, key) }
            }
        };
        let optional =
            |name: &Option<String>| name.as_ref().map_or(Ok(None), |name| optional(row, name));
        question.id = optional(&self.id)?.unwrap_or_default();
        question.family = optional(&self.family)?;
        question.cot = optional(&self.rationale)?;
        Ok(question)
    }
}
