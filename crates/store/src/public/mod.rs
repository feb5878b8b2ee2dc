//! Public question sets in the files their makers publish: JSON Lines or Parquet,
//! with Hugging Face's own column names.

mod rows;
mod schema;

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Grader, Question};

use crate::{StoreError, atomic};

/// Whose columns a file has. Columns not named here are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schema {
    /// CommonsenseQA (`tau/commonsense_qa`): `id`, `question`, `choices` {`label`,
    /// `text`}, `answerKey`; or its original lines, with `question` {`stem`, `choices`}.
    CommonsenseQa,
    /// GSM8K (`openai/gsm8k`): `question`, `answer` ending in `#### 18`. The
    /// answer becomes the rationale, its `<<…>>` calculator notes left out.
    Gsm8k,
    /// ARC (`allenai/ai2_arc`): CommonsenseQA's columns; its letters may be digits.
    Arc,
    /// OpenBookQA (`allenai/openbookqa`): ARC's columns with `question_stem`, or the
    /// original lines, with `question` {`stem`, `choices`}.
    OpenbookQa,
    /// MMLU (`cais/mmlu`): `question`, `subject`, `choices` (a list of texts),
    /// `answer` (an index from 0, or a letter).
    Mmlu,
    /// Anything else: `question`, `answer` (or `answerKey`), and optionally `id`,
    /// `choices` (texts, {`label`, `text`} pairs or two lists), `cot`, `family`. With
    /// choices the answer is a letter, a text or an index from 0; without it is free.
    Plain,
}

impl Schema {
    /// The grader that suits a question: choices by letter or text, GSM8K and other
    /// numbers by value, free text by its words.
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

/// Reads a file of questions. Whether it is Parquet shows in its first bytes.
///
/// Letters become A onwards in the order of the choices (ARC's 1-4 become A-D).
/// A question without an id gets the file's name and its row, counted from 1:
/// ids must be unique across the splits of an experiment too. `grader` overrides
/// [`Schema::grader`].
///
/// # Errors
/// A file that cannot be read, or the first row that is no question of the schema:
/// the row, the column, what it holds and what was expected.
pub fn load_questions(
    path: &Path,
    schema: Schema,
    grader: Option<Grader>,
) -> Result<Vec<Question>, StoreError> {
    let bytes = atomic::read(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut seen = HashSet::new();
    let mut questions = Vec::new();
    rows::each(path, &bytes, |number, row| {
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
