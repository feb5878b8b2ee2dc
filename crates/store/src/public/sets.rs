//! Rows of StrategyQA, BoolQ, AQuA, MATH and ASDiv as published.

use serde_json::{Map, Value};
use tokenroute_core::{Choices, Question, last_boxed, yes_or_no};

use super::schema::{choices_of, free, letter, optional, text};
use crate::rows::shown;

type Row = Map<String, Value>;

pub(super) fn strategy_qa(row: &Row) -> Result<Question, String> {
    let key = truth(row, "answer")?;
    let facts = match row.get("facts") {
        Some(Value::Array(facts)) => {
            let texts: Option<Vec<&str>> = facts.iter().map(Value::as_str).collect();
            Some(texts.map(|texts| texts.join(" ")).ok_or_else(|| {
                let found = shown(&Value::from(facts.clone()).to_string());
                format!("`facts` is {found}; expected a list of texts")
            })?)
        }
        _ => optional(row, "facts")?,
    };
    let cot = facts.filter(|facts| !facts.trim().is_empty());
    Ok(Question { cot, ..free(text(row, "question")?, key) })
}

pub(super) fn boolq(row: &Row) -> Result<Question, String> {
    // Questions are published in lower case and without their question mark.
    let question = text(row, "question")?;
    let mark = if question.trim_end().ends_with('?') { "" } else { "?" };
    let asked = format!("{}\n{}{mark}", text(row, "passage")?.trim(), question.trim_end());
    Ok(free(asked, truth(row, "answer")?))
}

pub(super) fn aqua(row: &Row) -> Result<Question, String> {
    let (_, marked) = choices_of("options", row.get("options"))?;
    // "A)21": each option begins with its letter.
    let texts: Option<Vec<String>> = marked
        .iter()
        .enumerate()
        .map(|(i, option)| {
            let rest = option.trim_start().strip_prefix(&letter(i))?.strip_prefix(')')?;
            Some(rest.trim().to_owned())
        })
        .collect();
    let texts = texts.ok_or_else(|| {
        let found = shown(&marked.join(", "));
        format!("`options` is {found}; expected options that begin with \"A)\", \"B)\" and so on")
    })?;
    let label: Vec<String> = (0..texts.len()).map(letter).collect();
    let key = text(row, "correct")?;
    if !label.contains(&key) {
        return Err(format!("`correct` is {}; expected one of {}", shown(&key), label.join(", ")));
    }
    let choices = Choices { label, text: texts };
    let cot = optional(row, "rationale")?.filter(|text| !text.trim().is_empty());
    Ok(Question { choices, cot, ..free(text(row, "question")?, key) })
}

pub(super) fn math(row: &Row) -> Result<Question, String> {
    let solution = text(row, "solution")?;
    let key = match optional(row, "answer")? {
        Some(answer) => answer,
        None => last_boxed(&solution).map(str::to_owned).ok_or_else(|| {
            let found = shown(&solution);
            format!("`solution` is {found}; expected it to have its answer in \\boxed{{…}}")
        })?,
    };
    let kind = if row.contains_key("type") { "type" } else { "subject" };
    let family = optional(row, kind)?;
    Ok(Question { cot: Some(solution), family, ..free(text(row, "problem")?, key) })
}

pub(super) fn asdiv(row: &Row) -> Result<Question, String> {
    let answer = text(row, "answer")?;
    // "9 (apples)": the unit is left out.
    let key = answer.split_once(" (").map_or(answer.as_str(), |(value, _)| value).trim();
    if key.is_empty() {
        return Err(format!(
            "`answer` is {}; expected a value, as in \"9 (apples)\"",
            shown(&answer)
        ));
    }
    let asked = format!("{} {}", text(row, "body")?.trim(), text(row, "question")?.trim());
    let family = optional(row, "solution_type")?;
    Ok(Question { family, ..free(asked, key.to_owned()) })
}

/// "yes" or "no".
fn truth(row: &Row, field: &str) -> Result<String, String> {
    let found = match row.get(field) {
        Some(Value::Bool(truth)) => Some(*truth),
        Some(Value::String(text)) => yes_or_no(text),
        None => return text(row, field),
        _ => None,
    };
    let truth = found.ok_or_else(|| {
        let found = row.get(field).map_or_else(String::new, Value::to_string);
        format!("`{field}` is {}; expected true or false", shown(&found))
    })?;
    Ok(if truth { "yes" } else { "no" }.to_owned())
}
