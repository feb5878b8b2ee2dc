//! Reads public question sets as published: JSON Lines or Parquet with the column names of
//! the Hugging Face Hub.

mod schema;

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Grader, Question};

use crate::{StoreError, atomic, rows};

/// The kind of file in errors.
const KIND: &str = "question file";

/// The columns of a file. Other columns are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Schema {
    /// CommonsenseQA (`tau/commonsense_qa`): `id`, `question`, `choices` {`label`, `text`},
    /// `answerKey`; or the original lines, with `question` {`stem`, `choices`}.
    CommonsenseQa,
    /// GSM8K (`openai/gsm8k`): `question`, `answer` ending in `#### 18`. The answer becomes
    /// the rationale, without its `<<…>>` calculator notes.
    Gsm8k,
    /// ARC (`allenai/ai2_arc`): CommonsenseQA's columns. Its letters may be digits.
    Arc,
    /// OpenBookQA (`allenai/openbookqa`): ARC's columns with `question_stem`, or the
    /// original lines, with `question` {`stem`, `choices`}.
    OpenbookQa,
    /// MMLU (`cais/mmlu`): `question`, `subject`, `choices` (a list of texts),
    /// `answer` (an index from 0, or a letter).
    Mmlu,
    /// Any other set: `question`, `answer` (or `answerKey`), and optionally `id`, `choices`
    /// (texts, {`label`, `text`} pairs or two lists), `cot`, `family`. With choices the
    /// answer is a letter, a text or an index from 0. Without choices it is free text or a
    /// number.
    Plain,
}

impl Schema {
    /// The default grader of a question: choices by letter or text, GSM8K and other numbers
    /// by value, free text by its words.
    #[must_use]
    pub fn grader(self, question: &Question) -> Grader {
        if !question.choices.is_empty() {
            Grader::Choice
        } else if self == Schema::Gsm8k || tokenroute_core::is_number(&question.answer_key) {
            Grader::FinalNumber
        } else {
            Grader::Text
        }
    }
}

/// Reads a file of questions. The first bytes show whether it is Parquet.
///
/// Choices get the letters A, B, … in their order, so ARC's 1-4 become A-D. A question
/// without an id gets the file's name and its row, counted from 1. Ids must be unique, also
/// across the splits of an experiment. `grader` overrides [`Schema::grader`].
///
/// # Errors
/// A file that cannot be read, or the first row that does not fit the schema: the row, the
/// column, its value and what was expected.
pub fn load_questions(
    path: &Path,
    schema: Schema,
    grader: Option<Grader>,
) -> Result<Vec<Question>, StoreError> {
    let bytes = atomic::read(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut seen = HashSet::new();
    let mut questions = Vec::new();
    rows::each(path, KIND, &bytes, |number, row| {
        let mut question = schema::question(schema, &row)?;
        if question.id.is_empty() {
            question.id = format!("{stem}-{number}");
        }
        question.grader = grader.unwrap_or_else(|| schema.grader(&question));
        question.check().map_err(|e| e.to_string())?;
        if !seen.insert(question.id.clone()) {
            return Err(format!("`id` {:?} was used before; ids must be unique", question.id));
        }
        questions.push(question);
        Ok(())
    })?;
    Ok(questions)
}
