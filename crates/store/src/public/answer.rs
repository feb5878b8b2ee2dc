//! Reads the right answer of a row in the form that a map of columns states.

use serde_json::Value;
use tokenroute_core::{Grader, is_number, yes_or_no};

use super::cells::{number, written};
use super::columns::{AnswerForm, ColumnMap};
use super::schema::letter;
use crate::rows::shown;

impl ColumnMap {
    /// The letter of the right choice.
    pub(super) fn choice(
        &self,
        value: &Value,
        labels: &[String],
        texts: &[String],
    ) -> Result<String, String> {
        let field = &self.answer;
        let found = || shown(&value.to_string());
        let name = written(value).unwrap_or_default();
        let name = name.trim();
        if name.is_empty() {
            return Err(format!("`{field}` is {}; expected the right choice", found()));
        }
        let shown_letters = || {
            let own = (0..texts.len()).map(letter).collect::<Vec<_>>();
            if labels.is_empty() { own.join(", ") } else { labels.join(", ") }
        };
        let by_letter = || match labels {
            [] => (0..texts.len()).find(|&i| letter(i).eq_ignore_ascii_case(name)),
            _ => labels.iter().position(|label| label == name),
        };
        let by_text = || texts.iter().position(|text| text.trim() == name);
        let place = |first: usize| {
            let at = number(value).and_then(|n| n.checked_sub(first));
            at.filter(|&at| at < texts.len()).ok_or_else(|| {
                let last = texts.len() - 1 + first;
                format!("`{field}` is {}; expected a choice's place, {first} to {last}", found())
            })
        };
        let at = match self.answer_is {
            Some(AnswerForm::IndexFromZero) => place(0)?,
            Some(AnswerForm::IndexFromOne) => place(1)?,
            Some(AnswerForm::Letter) => by_letter().ok_or_else(|| {
                format!("`{field}` is {}; expected one of {}", found(), shown_letters())
            })?,
            Some(AnswerForm::Text) => by_text().ok_or_else(|| {
                let texts = shown(&texts.join(", "));
                format!("`{field}` is {}; expected the text of a choice: {texts}", found())
            })?,
            Some(AnswerForm::Bool) | None => {
                let letter = by_letter();
                if letter.is_none() && number(value).is_some() {
                    return Err(format!(
                        "`{field}` is {}, which may be a place or a text; set data.columns.answer_is to \"index-from-0\", \"index-from-1\" or \"text\"",
                        found()
                    ));
                }
                match (letter, by_text()) {
                    (Some(a), Some(b)) if a != b => {
                        return Err(format!(
                            "`{field}` is {}, the letter of one choice and the text of another; set data.columns.answer_is to \"letter\" or \"text\"",
                            found()
                        ));
                    }
                    (letter, text) => letter.or(text).ok_or_else(|| {
                        format!(
                            "`{field}` is {}; expected one of {}, or the text of a choice",
                            found(),
                            shown_letters()
                        )
                    })?,
                }
            }
        };
        Ok(letter(at))
    }

    /// The key of a question without choices, and its grader.
    pub(super) fn free_answer(&self, value: &Value) -> Result<(String, Grader), String> {
        let field = &self.answer;
        let found = || shown(&value.to_string());
        let truth = match value {
            Value::Bool(truth) => Some(*truth),
            other if self.answer_is == Some(AnswerForm::Bool) => {
                let read = match number(other) {
                    Some(1) => Some(true),
                    Some(0) => Some(false),
                    Some(_) => None,
                    None => other.as_str().and_then(yes_or_no),
                };
                let read = read.ok_or_else(|| {
                    format!("`{field}` is {}; expected true, false, yes, no, 1 or 0", found())
                })?;
                Some(read)
            }
            _ => None,
        };
        if let Some(truth) = truth.filter(|_| self.answer_is != Some(AnswerForm::Text)) {
            return Ok((if truth { "yes" } else { "no" }.to_owned(), Grader::YesNo));
        }
        let key = written(value).map(|key| key.trim().to_owned()).unwrap_or_default();
        if key.is_empty() {
            return Err(format!("`{field}` is {}; expected a text or a number", found()));
        }
        let grader = if is_number(&key) { Grader::FinalNumber } else { Grader::Text };
        Ok((key, grader))
    }
}
