//! Reads question sets: public ones as published on the Hugging Face Hub, and any other file
//! by a map of its columns. JSON, JSON Lines, CSV or Parquet.

mod answer;
mod cells;
mod columns;
mod schema;
mod sets;

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokenroute_core::{Grader, Question, grade};

pub use self::columns::{AnswerForm, ColumnMap, Names};
use crate::rows::{self, Layout};
use crate::{StoreError, atomic};

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
    /// `answer` (an index from 0, or a letter). Or the original CSV files, which name no
    /// columns: question, four choices, letter.
    Mmlu,
    /// StrategyQA, the original JSON or the Hub's copies (`ChilleD/StrategyQA`): `question`,
    /// `answer` (true or false), `qid`, `facts`. The facts become the rationale.
    StrategyQa,
    /// BoolQ (`google/boolq`): `passage`, `question`, `answer` (true or false). The passage
    /// goes before the question.
    #[serde(rename = "boolq")]
    BoolQ,
    /// AQuA (`deepmind/aqua_rat`): `question`, `options` ("A)21"), `rationale`, `correct`.
    Aqua,
    /// MATH (`EleutherAI/hendrycks_math`): `problem`, `solution`, `type`; the answer is the
    /// last box of the solution. MATH-500 (`HuggingFaceH4/MATH-500`) has it in `answer` too.
    Math,
    /// ASDiv (`EleutherAI/asdiv`): `body`, `question`, `answer` ("9 (apples)"),
    /// `solution_type`.
    Asdiv,
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
        } else if matches!(self, Schema::StrategyQa | Schema::BoolQ) {
            Grader::YesNo
        } else if self == Schema::Math {
            Grader::Latex
        } else if self == Schema::Gsm8k || tokenroute_core::is_number(&question.answer_key) {
            Grader::FinalNumber
        } else {
            Grader::Text
        }
    }
}

/// Reads a file of questions in a published form. Its first bytes show its format: Parquet,
/// JSON (a list), JSON Lines, else CSV.
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
    const MMLU: [&str; 6] = ["question", "A", "B", "C", "D", "answer"];
    let names = (schema == Schema::Mmlu).then_some(&MMLU[..]);
    let original = ColumnMap {
        question: Names::One("question".to_owned()),
        choices: Some(Names::Several(MMLU[1..5].iter().map(|&name| name.to_owned()).collect())),
        answer: "answer".to_owned(),
        answer_is: Some(AnswerForm::Letter),
        rationale: None,
        id: None,
        family: None,
        rows: None,
    };
    let states = matches!(schema, Schema::StrategyQa | Schema::Aqua);
    load(path, Layout { names, rows: None }, grader, states, |row| {
        if names.is_some() && !row.contains_key("choices") && row.contains_key(MMLU[1]) {
            return original.question(row);
        }
        let mut question = schema::question(schema, row)?;
        question.grader = schema.grader(&question);
        Ok(question)
    })
}

/// As [`load_questions`] of a file of any columns, which `columns` names. A rationale whose
/// own answer is not the right one gets a sentence that states the answer.
///
/// # Errors
/// As [`load_questions`].
pub fn load_mapped(
    path: &Path,
    columns: &ColumnMap,
    grader: Option<Grader>,
) -> Result<Vec<Question>, StoreError> {
    let layout = Layout { names: None, rows: columns.rows.as_deref() };
    load(path, layout, grader, true, |row| columns.question(row))
}

/// Reads a file whose rows `of` turns into questions. With `states` every rationale ends in
/// the answer.
fn load(
    path: &Path,
    layout: Layout<'_>,
    grader: Option<Grader>,
    states: bool,
    of: impl Fn(&rows::Row) -> Result<Question, String>,
) -> Result<Vec<Question>, StoreError> {
    let bytes = atomic::read(path)?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let mut seen = HashSet::new();
    let mut questions = Vec::new();
    rows::each(path, KIND, &bytes, layout, |number, row| {
        let mut question = of(&row)?;
        if question.id.is_empty() {
            question.id = format!("{stem}-{number}");
        }
        question.grader = grader.unwrap_or(question.grader);
        question.check().map_err(|e| e.to_string())?;
        if let Some(cot) = question.cot.take_if(|_| states) {
            question.cot = Some(ending_in_the_answer(&question, cot));
        }
        if !seen.insert(question.id.clone()) {
            return Err(format!("`id` {:?} was used before; ids must be unique", question.id));
        }
        questions.push(question);
        Ok(())
    })?;
    Ok(questions)
}

/// The rationale, with a sentence that states the right answer if its own is another one.
fn ending_in_the_answer(question: &Question, rationale: String) -> String {
    if grade(question, &rationale, true) {
        return rationale;
    }
    let key = &question.answer_key;
    let answer = match question.grader {
        Grader::Latex => format!("${key}$"),
        grader if grader.needs_choices() => format!("({key})"),
        _ => key.clone(),
    };
    format!("{}\nThe answer is {answer}.", rationale.trim_end())
}
