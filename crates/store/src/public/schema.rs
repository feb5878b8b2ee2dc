//! Turns one row of each schema into a question.

use serde_json::{Map, Value};
use tokenroute_core::{Choices, Grader, Question};

use super::{Schema, sets};
use crate::rows::{names, shown};

type Row = Map<String, Value>;

/// The question of a row. Its id is empty if the row has none. The caller sets its grader.
pub(super) fn question(schema: Schema, row: &Row) -> Result<Question, String> {
    let mut question = match schema {
        Schema::CommonsenseQa | Schema::Arc => with_choices(row, "question", "answerKey")?,
        Schema::OpenbookQa if row.contains_key("question") => {
            with_choices(row, "question", "answerKey")?
        }
        Schema::OpenbookQa => with_choices(row, "question_stem", "answerKey")?,
        Schema::Mmlu => with_choices(row, "question", "answer")?,
        Schema::Gsm8k => gsm8k(row)?,
        Schema::Plain => plain(row)?,
        Schema::StrategyQa => sets::strategy_qa(row)?,
        Schema::BoolQ => sets::boolq(row)?,
        Schema::Aqua => sets::aqua(row)?,
        Schema::Math => sets::math(row)?,
        Schema::Asdiv => sets::asdiv(row)?,
    };
    let own = match schema {
        Schema::StrategyQa => "qid",
        Schema::Math if row.contains_key("unique_id") => "unique_id",
        _ => "id",
    };
    question.id = id(row, own)?;
    Ok(question)
}

fn with_choices(row: &Row, stem: &str, key: &str) -> Result<Question, String> {
    // The original lines of CommonsenseQA and OpenBookQA nest the choices.
    let (text, choices) = match row.get(stem) {
        Some(Value::Object(nested)) => (text(nested, "stem")?, nested.get("choices")),
        _ => (text(row, stem)?, row.get("choices")),
    };
    let (own, texts) = choices_of("choices", choices)?;
    let key = letter_of(row.get(key), key, &own, &texts)?;
    let choices = Choices { label: (0..texts.len()).map(letter).collect(), text: texts };
    Ok(Question { choices, family: optional(row, "subject")?, ..free(text, key) })
}

fn gsm8k(row: &Row) -> Result<Question, String> {
    let answer = text(row, "answer")?;
    let (rationale, number) = answer.rsplit_once("####").ok_or_else(|| {
        format!("`answer` is {}; expected it to end in \"#### \" and a number", shown(&answer))
    })?;
    let number = number.trim().replace(',', "");
    let cot = format!("{}\n#### {number}", without_notes(rationale).trim_end());
    Ok(Question { cot: Some(cot), ..free(text(row, "question")?, number) })
}

fn plain(row: &Row) -> Result<Question, String> {
    let renamed = row.contains_key("answerKey") && !row.contains_key("answer");
    let key = if renamed { "answerKey" } else { "answer" };
    let mut question = match row.get("choices") {
        None | Some(Value::Null) => {
            let answer = match row.get(key) {
                Some(Value::Number(number)) => number.to_string(),
                _ => text(row, key)?,
            };
            free(text(row, "question")?, answer)
        }
        Some(_) => with_choices(row, "question", key)?,
    };
    question.cot = optional(row, "cot")?;
    question.family = optional(row, "family")?.or(question.family);
    Ok(question)
}

pub(super) fn free(question: String, answer_key: String) -> Question {
    Question {
        id: String::new(),
        question,
        choices: Choices::default(),
        answer_key,
        grader: Grader::default(),
        cot: None,
        family: None,
        steps: None,
        operands: None,
        program: None,
    }
}

fn id(row: &Row, field: &str) -> Result<String, String> {
    match row.get(field) {
        Some(Value::Number(number)) => Ok(number.to_string()),
        _ => Ok(optional(row, field)?.unwrap_or_default()),
    }
}

pub(super) fn text(row: &Row, field: &str) -> Result<String, String> {
    match row.get(field) {
        Some(Value::String(text)) => Ok(text.clone()),
        None => Err(format!("`{field}` is missing; the row has {}", names(row))),
        Some(other) => {
            Err(format!("`{field}` is {}; expected a string", shown(&other.to_string())))
        }
    }
}

pub(super) fn optional(row: &Row, field: &str) -> Result<Option<String>, String> {
    match row.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(row, field).map(Some),
    }
}

/// The letters of the choices, if they have any, and their texts. Numbers count as texts.
pub(super) fn choices_of(
    name: &str,
    value: Option<&Value>,
) -> Result<(Vec<String>, Vec<String>), String> {
    let wrong = || {
        let found = value.map_or_else(|| "missing".to_owned(), |v| shown(&v.to_string()));
        format!(
            "`{name}` is {found}; expected a list of texts, a list of {{\"label\", \"text\"}}, or {{\"label\": [...], \"text\": [...]}}"
        )
    };
    let strings =
        |list: &Value| -> Option<Vec<String>> { list.as_array()?.iter().map(written).collect() };
    let field = |list: &[Value], name: &str| -> Option<Vec<String>> {
        list.iter().map(|v| written(v.get(name)?)).collect()
    };
    let found = match value {
        Some(Value::Object(lists)) => {
            let get = |name: &str| lists.get(name).and_then(strings);
            get("label").zip(get("text"))
        }
        Some(Value::Array(list)) if list.iter().all(Value::is_object) => {
            field(list, "label").zip(field(list, "text"))
        }
        Some(list) => strings(list).map(|texts| (Vec::new(), texts)),
        None => None,
    };
    let (own, texts) = found.ok_or_else(wrong)?;
    if !own.is_empty() && own.len() != texts.len() {
        return Err(wrong());
    }
    if !(2..=26).contains(&texts.len()) {
        return Err(format!("`{name}` has {} texts; expected 2 to 26", texts.len()));
    }
    Ok((own, texts))
}

fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The letter (A, B, …) of the right choice, from the row's answer: the choice's own
/// letter, or A, B, … if the choices have none; the choice's text; or its index from 0.
fn letter_of(
    value: Option<&Value>,
    field: &str,
    own: &[String],
    texts: &[String],
) -> Result<String, String> {
    let index = match value {
        Some(Value::String(key)) if key.is_empty() => {
            return Err(format!(
                "`{field}` is empty: this split has no answers; use one without empty answers"
            ));
        }
        Some(Value::String(key)) => {
            let by_letter = if own.is_empty() {
                (0..texts.len()).find(|&i| letter(i) == *key)
            } else {
                own.iter().position(|label| label == key)
            };
            let by_text = texts.iter().position(|text| text == key);
            match (by_letter, by_text) {
                (Some(a), Some(b)) if a != b && own.is_empty() => {
                    return Err(format!(
                        "`{field}` is {key:?}, the letter of one choice and the text of another; give the choices labels"
                    ));
                }
                _ => by_letter.or(by_text),
            }
        }
        Some(Value::Number(number)) => {
            let index = number.as_u64().and_then(|i| usize::try_from(i).ok());
            index.filter(|&i| i < texts.len())
        }
        _ => None,
    };
    index.map(letter).ok_or_else(|| {
        let found = value.map_or_else(|| "missing".to_owned(), |v| shown(&v.to_string()));
        let letters: Vec<String> =
            if own.is_empty() { (0..texts.len()).map(letter).collect() } else { own.to_vec() };
        let last = texts.len() - 1;
        format!(
            "`{field}` is {found}; expected one of {}, a choice's text or its index 0 to {last}",
            letters.join(", ")
        )
    })
}

/// "A" for 0. There are at most 26 choices.
pub(super) fn letter(index: usize) -> String {
    char::from(b'A' + u8::try_from(index.min(25)).unwrap_or(25)).to_string()
}

/// GSM8K's rationale without its `<<48/2=24>>` notes.
fn without_notes(text: &str) -> String {
    let mut parts = text.split("<<");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(">>") {
            Some((_, after)) => plain.push_str(after),
            None => plain.extend(["<<", part]),
        }
    }
    plain
}
