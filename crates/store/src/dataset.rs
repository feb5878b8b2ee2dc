//! Question sets: JSON Lines in CommonsenseQA's schema, with a `dataset.toml` that names
//! their source and pins their hashes.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokenroute_core::{Choices, Question};

use crate::{StoreError, atomic, hash};

/// The content of `dataset.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetCard {
    /// Short name, the same as the directory's.
    pub name: String,
    /// One or two sentences.
    pub description: String,
    /// Its source: a URL, or the command that makes it.
    pub source: String,
    /// Version of the source.
    pub revision: String,
    /// Licence as an SPDX expression.
    pub licence: String,
    /// The file of each split, by name.
    pub splits: BTreeMap<String, Split>,
}

/// The file of one split, with its hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Split {
    /// File name, in the card's directory.
    pub file: String,
    /// SHA-256 of the file, hexadecimal.
    pub sha256: String,
    /// Number of questions.
    pub count: usize,
}

/// A data-set directory with its card.
#[derive(Debug, Clone)]
pub struct Dataset {
    dir: PathBuf,
    card: DatasetCard,
}

impl Dataset {
    /// File name of the card.
    pub const CARD: &'static str = "dataset.toml";

    /// Reads the card of a data-set directory.
    ///
    /// # Errors
    /// A card that cannot be read or has missing or unknown keys.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(Self::CARD);
        let card = toml::from_str(&atomic::read_text(&path)?).map_err(|e| StoreError::Format {
            path,
            kind: "data-set card",
            what: e.to_string(),
        })?;
        Ok(Dataset { dir: dir.to_owned(), card })
    }

    /// Writes question files and a card with their hashes. The file of each split is
    /// `<split>.jsonl`. This function fills in `card.splits`.
    ///
    /// # Errors
    /// A question that fails its check, or a write that fails.
    pub fn create(
        dir: &Path,
        mut card: DatasetCard,
        splits: &[(&str, &[Question])],
    ) -> Result<Self, StoreError> {
        let mut files: Vec<(String, Vec<u8>)> = Vec::new();
        for &(name, questions) in splits {
            let bytes = questions_jsonl(questions)?;
            let file = format!("{name}.jsonl");
            card.splits.insert(
                name.to_owned(),
                Split { file: file.clone(), sha256: hash::sha256(&bytes), count: questions.len() },
            );
            files.push((file, bytes));
        }
        let text = toml::to_string(&card)
            .map_err(|e| StoreError::Encode { kind: "data-set card", what: e.to_string() })?;
        files.push((Self::CARD.to_owned(), text.into_bytes()));
        let views: Vec<_> = files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).collect();
        atomic::write_all(dir, &views)?;
        Ok(Dataset { dir: dir.to_owned(), card })
    }

    /// The card.
    #[must_use]
    pub fn card(&self) -> &DatasetCard {
        &self.card
    }

    /// The card's entry of one split.
    ///
    /// # Errors
    /// [`StoreError::NoSplit`].
    pub fn split(&self, name: &str) -> Result<&Split, StoreError> {
        self.card.splits.get(name).ok_or_else(|| StoreError::NoSplit {
            path: self.dir.join(Self::CARD),
            wanted: name.to_owned(),
            known: self.card.splits.keys().cloned().collect::<Vec<_>>().join(", "),
        })
    }

    /// Reads one split and checks its hash and count against the card.
    ///
    /// # Errors
    /// A missing split, a changed file, or a line that is not a question.
    pub fn questions(&self, split: &str) -> Result<Vec<Question>, StoreError> {
        let pinned = self.split(split)?;
        let path = self.dir.join(&pinned.file);
        let bytes = atomic::read(&path)?;
        let changed = |what, expected: String, found: String| StoreError::Changed {
            path: path.clone(),
            card: Self::CARD.to_owned(),
            what,
            expected,
            found,
        };
        let found = hash::sha256(&bytes);
        // A malformed line explains more than a changed hash, so it is reported first.
        let questions = parse_questions(&path, &bytes)?;
        if found != pinned.sha256 {
            return Err(changed("SHA-256", pinned.sha256.clone(), found));
        }
        if questions.len() != pinned.count {
            let found = questions.len().to_string();
            return Err(changed("question count", pinned.count.to_string(), found));
        }
        Ok(questions)
    }
}

/// Reads a file of questions, one JSON object per line. Unknown fields are allowed.
///
/// # Errors
/// [`StoreError::Line`] names the line and the field. A repeated id is an error.
pub fn read_questions(path: &Path) -> Result<Vec<Question>, StoreError> {
    parse_questions(path, &atomic::read(path)?)
}

/// Writes a file of questions, one JSON object per line.
///
/// # Errors
/// A question that fails its check, or a write that fails.
pub fn write_questions(path: &Path, questions: &[Question]) -> Result<(), StoreError> {
    atomic::write(path, &questions_jsonl(questions)?)
}

/// Encodes a question file.
///
/// # Errors
/// A question that fails its check.
pub fn questions_jsonl(questions: &[Question]) -> Result<Vec<u8>, StoreError> {
    let failed = |what: String| StoreError::Encode { kind: "questions", what };
    let mut bytes = Vec::new();
    for question in questions {
        question.check().map_err(|e| failed(e.to_string()))?;
        serde_json::to_writer(&mut bytes, question).map_err(|e| failed(e.to_string()))?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn parse_questions(path: &Path, bytes: &[u8]) -> Result<Vec<Question>, StoreError> {
    let text = std::str::from_utf8(bytes).map_err(|e| StoreError::Format {
        path: path.to_owned(),
        kind: "question file",
        what: format!("it is not UTF-8 after byte {}", e.valid_up_to()),
    })?;
    let mut seen = HashSet::new();
    let mut questions = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let bad = |what| StoreError::Line { path: path.to_owned(), line: i + 1, what };
        let question = parse_line(line).map_err(bad)?;
        question.check().map_err(|e| bad(e.to_string()))?;
        if !seen.insert(question.id.clone()) {
            return Err(bad(format!("`id` {:?} was used before; ids must be unique", question.id)));
        }
        questions.push(question);
    }
    Ok(questions)
}

fn parse_line(line: &str) -> Result<Question, String> {
    let object: Map<String, Value> = serde_json::from_str(line)
        .map_err(|e| format!("not a JSON object ({e}); expected one question per line"))?;
    // serde's messages do not name the field with the wrong type.
    needed::<String>(&object, "id", "a string")?;
    needed::<String>(&object, "question", "a string")?;
    needed::<Choices>(&object, "choices", "{\"label\": [letters], \"text\": [texts]}")?;
    needed::<String>(&object, "answerKey", "the letter of the right choice")?;
    optional::<String>(&object, "cot", "a string")?;
    optional::<String>(&object, "family", "a string")?;
    optional::<u32>(&object, "steps", "a whole number")?;
    optional::<Vec<String>>(&object, "operands", "a list of strings")?;
    serde_json::from_value(Value::Object(object)).map_err(|e| e.to_string())
}

fn needed<T: DeserializeOwned>(
    object: &Map<String, Value>,
    field: &str,
    expected: &str,
) -> Result<(), String> {
    if object.contains_key(field) {
        return optional::<T>(object, field, expected);
    }
    let id = object.get("id").map_or_else(String::new, |id| format!("question {id}: "));
    Err(format!("{id}`{field}` is missing; expected {expected}"))
}

fn optional<T: DeserializeOwned>(
    object: &Map<String, Value>,
    field: &str,
    expected: &str,
) -> Result<(), String> {
    match object.get(field) {
        Some(value) if T::deserialize(value).is_err() => {
            Err(format!("`{field}` is {value}; expected {expected}"))
        }
        _ => Ok(()),
    }
}
