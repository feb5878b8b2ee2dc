//! Reads a table of outcomes: one row a question, with both models' grades and the scores of one
//! or more routers. CSV, JSON, JSON Lines or Parquet.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use tokenroute_core::{Outcome, OutcomeTable, RouterScores};

use crate::rows::{self, Layout, Row, names, shown};
use crate::{StoreError, atomic};

/// The kind of file in errors.
const KIND: &str = "table of outcomes";

/// Most routers of a table. All pairs of them are compared.
const ROUTERS: usize = 64;

/// Names of a table's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeColumns {
    /// Id of the question.
    pub id: String,
    /// Whether the weak model is right: 0, 1, true or false.
    pub weak: String,
    /// Whether the strong model is right.
    pub strong: String,
    /// Scores that the weak model's answer may be kept: low ones go to the strong model first.
    pub scores: Vec<String>,
    /// RouteLLM's thresholds, the strong model's win rates: high ones go to the strong model
    /// first. Without names in either list, all columns whose names begin with `score` or
    /// `threshold` are taken.
    pub thresholds: Vec<String>,
    /// Cost of the weak model's answer. Without a name, `weak_cost` if it is there, or 0.
    pub weak_cost: Option<String>,
    /// Cost of the strong model's answer. Without a name, `strong_cost` or `cost` if it is there.
    pub strong_cost: Option<String>,
}

impl Default for OutcomeColumns {
    fn default() -> Self {
        let [id, weak, strong] = ["id", "weak", "strong"].map(str::to_owned);
        let (scores, thresholds) = (Vec::new(), Vec::new());
        OutcomeColumns { id, weak, strong, scores, thresholds, weak_cost: None, strong_cost: None }
    }
}

/// Reads a table. The first bytes show whether it is Parquet, JSON, JSON Lines or CSV.
///
/// # Errors
/// A file that cannot be read, or the first row that does not fit: the row, the column, its value
/// and what was expected. A router whose scores are all equal.
pub fn read_outcomes(path: &Path, columns: &OutcomeColumns) -> Result<OutcomeTable, StoreError> {
    let bytes = atomic::read(path)?;
    let mut reader: Option<Reader<'_>> = None;
    let take = |number: usize, row: Row| {
        let reader = match &mut reader {
            Some(reader) => reader,
            None => reader.insert(Reader::new(columns, &row)?),
        };
        reader.take(number, &row)
    };
    rows::each(path, KIND, &bytes, Layout::default(), take)?;
    let bad = |what| StoreError::Format { path: path.to_owned(), kind: KIND, what };
    let table = reader.ok_or_else(|| bad("it has no rows".to_owned()))?.table;
    for RouterScores { name, keep } in &table.routers {
        if keep.iter().all(|score| *score == keep[0]) {
            return Err(bad(format!(
                "`{name}` is the same in every row; expected numbers that tell questions apart"
            )));
        }
    }
    Ok(table)
}

/// Reads rows with the columns that the first of them has.
struct Reader<'a> {
    columns: &'a OutcomeColumns,
    /// Each router's column, and the sign that makes its numbers scores to keep.
    scores: Vec<(String, f64)>,
    costs: Option<Costs>,
    /// Row of each id.
    seen: HashMap<String, usize>,
    table: OutcomeTable,
}

/// Columns of the costs.
struct Costs {
    /// The weak model's answers are free without one.
    weak: Option<String>,
    strong: String,
}

impl<'a> Reader<'a> {
    fn new(columns: &'a OutcomeColumns, first: &Row) -> Result<Self, String> {
        let named = columns.scores.iter().chain(&columns.thresholds);
        let needed = [&columns.id, &columns.weak, &columns.strong].into_iter().chain(named);
        for name in needed.chain(&columns.weak_cost).chain(&columns.strong_cost) {
            if !first.contains_key(name) {
                return Err(missing(name, first));
            }
        }
        let scores = scores(columns, first)?;
        let routers = scores.iter().map(|(name, _)| name.clone());
        let routers = routers.map(|name| RouterScores { name, keep: Vec::new() }).collect();
        let table = OutcomeTable { questions: Vec::new(), routers };
        let costs = Costs::of(columns, first)?;
        Ok(Reader { columns, scores, costs, seen: HashMap::new(), table })
    }

    fn take(&mut self, number: usize, row: &Row) -> Result<(), String> {
        let OutcomeColumns { id, weak, strong, .. } = self.columns;
        let id = self.id(id, number, row)?;
        let costs = match &self.costs {
            None => None,
            Some(costs) => {
                let weak = costs.weak.as_ref().map_or(Ok(0.0), |name| cost(row, name))?;
                Some([weak, cost(row, &costs.strong)?])
            }
        };
        let (weak, strong) = (right(row, weak)?, right(row, strong)?);
        for ((column, sign), router) in self.scores.iter().zip(&mut self.table.routers) {
            // Adding 0 makes 0 of −0.
            router.keep.push(sign * number_in(row, column)? + 0.0);
        }
        self.table.questions.push(Outcome { id, weak, strong, costs });
        Ok(())
    }

    fn id(&mut self, column: &str, number: usize, row: &Row) -> Result<String, String> {
        let id = match value(row, column)? {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Null => String::new(),
            other => {
                let other = shown(&other.to_string());
                return Err(format!("`{column}` is {other}; expected a text or a number"));
            }
        };
        if id.is_empty() {
            return Err(format!("`{column}` is empty; every question needs an id"));
        }
        if let Some(earlier) = self.seen.insert(id.clone(), number) {
            let id = shown(&id);
            return Err(format!(
                "`{column}` {id:?} was used at {earlier} before; ids must be unique"
            ));
        }
        Ok(id)
    }
}

/// The routers' columns with their signs: those that are named, in their order, or all whose
/// names say so, in the order of their names.
fn scores(columns: &OutcomeColumns, first: &Row) -> Result<Vec<(String, f64)>, String> {
    let named = |names: &[String], sign: f64| -> Vec<(String, f64)> {
        names.iter().map(|name| (name.clone(), sign)).collect()
    };
    let mut found = named(&columns.scores, 1.0);
    found.extend(named(&columns.thresholds, -1.0));
    if found.is_empty() {
        let begins = |prefix: &str| -> Vec<String> {
            first.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
        };
        found = named(&begins("score"), 1.0);
        found.extend(named(&begins("threshold"), -1.0));
        found.sort_by(|a, b| a.0.cmp(&b.0));
    }
    if found.is_empty() {
        return Err(format!(
            "no column begins with `score` or `threshold`; the row has {}",
            names(first)
        ));
    }
    if found.len() > ROUTERS {
        return Err(format!(
            "{} columns are scores of routers; expected at most {ROUTERS}, so name those that count",
            found.len()
        ));
    }
    Ok(found)
}

impl Costs {
    fn of(columns: &OutcomeColumns, first: &Row) -> Result<Option<Self>, String> {
        let there = |name: &str| first.contains_key(name).then(|| name.to_owned());
        let weak = columns.weak_cost.clone().or_else(|| there("weak_cost"));
        let strong = columns.strong_cost.clone();
        let strong = strong.or_else(|| there("strong_cost")).or_else(|| there("cost"));
        match (weak, strong) {
            (weak, Some(strong)) => Ok(Some(Costs { weak, strong })),
            (Some(weak), None) => {
                Err(format!("`{weak}` needs the strong model's cost beside it, `strong_cost`"))
            }
            (None, None) => Ok(None),
        }
    }
}

fn value<'r>(row: &'r Row, column: &str) -> Result<&'r Value, String> {
    row.get(column).ok_or_else(|| missing(column, row))
}

fn missing(column: &str, row: &Row) -> String {
    format!("`{column}` is missing; the row has {}", names(row))
}

/// The finite number of a value, if it is one.
fn finite(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| number.is_finite())
}

fn number_in(row: &Row, column: &str) -> Result<f64, String> {
    let value = value(row, column)?;
    finite(value).ok_or_else(|| {
        format!("`{column}` is {}; expected a finite number", shown(&value.to_string()))
    })
}

fn cost(row: &Row, column: &str) -> Result<f64, String> {
    let cost = number_in(row, column)?;
    if cost < 0.0 {
        return Err(format!("`{column}` is {cost}; expected a cost of 0 or more"));
    }
    Ok(cost)
}

fn right(row: &Row, column: &str) -> Result<bool, String> {
    let value = value(row, column)?;
    let read = match value {
        Value::Bool(right) => Some(*right),
        Value::String(text) if text.trim().eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.trim().eq_ignore_ascii_case("false") => Some(false),
        other => match finite(other) {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
    };
    read.ok_or_else(|| {
        format!("`{column}` is {}; expected 0, 1, true or false", shown(&value.to_string()))
    })
}

#[cfg(all(test, feature = "tables"))]
mod tests {
    use polars::prelude::Column;

    use super::*;
    use crate::table::encode;

    #[test]
    fn a_parquet_file_is_read_with_its_types() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("routers.parquet");
        let columns = vec![
            Column::new("id".into(), [7u32, 9]),
            Column::new("weak".into(), [false, true]),
            Column::new("strong".into(), [1.0f64, 0.0]),
            Column::new("threshold_mf".into(), [0.25f64, 0.75]),
            Column::new("score_bert".into(), [0.5f32, 2.0]),
            Column::new("cost".into(), [3u32, 4]),
        ];
        atomic::write(&path, &encode(KIND, 2, columns).expect("columns")).expect("a file");
        let table = read_outcomes(&path, &OutcomeColumns::default()).expect("a table");
        let first =
            Outcome { id: "7".to_owned(), weak: false, strong: true, costs: Some([0.0, 3.0]) };
        assert_eq!(table.questions[0], first);
        let routers: Vec<_> =
            table.routers.iter().map(|r| (r.name.as_str(), r.keep.as_slice())).collect();
        assert_eq!(routers, [("score_bert", &[0.5, 2.0][..]), ("threshold_mf", &[-0.25, -0.75])]);
        let missing = OutcomeColumns { weak: "w".to_owned(), ..OutcomeColumns::default() };
        let error = read_outcomes(&path, &missing).expect_err("no column").to_string();
        assert!(error.contains("row 1") && error.contains("`w` is missing"), "{error}");
    }
}
