//! Label tables: Parquet shards with one row per generated position. pyarrow and polars for
//! Python read them directly.
//!
//! | columns | type |
//! | --- | --- |
//! | question, split, relation | string |
//! | round, position, previous, slm_token, llm_token, rollouts | u32 |
//! | prefix_hash | u64 |
//! | top_ids, top_probabilities | fixed-size list `[top_k]` of u32, f32 |
//! | hidden | fixed-size list `[hidden]` of f32 |
//! | margin, entropy, sentence_entropy, keep_grade, offload_grade, target, weight | f32 |
//! | llm_probability, only where labelling asked for it | f32, NaN where it is not known |

use std::path::{Path, PathBuf};

use polars::prelude::{Column, Float32Type, UInt32Type};
use tokenroute_core::{LabelRow, Relation};

use crate::table::{Table, array_column, encode};
use crate::{Manifest, StoreError, atomic, hash};

const KIND: &str = "label table";

/// Which columns of a label table to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// All columns.
    All,
    /// All columns but `hidden` and `top`, which stay empty. These two hold most of the
    /// bytes.
    Scalars,
}

const SCALARS: [&str; 16] = [
    "question",
    "split",
    "round",
    "position",
    "prefix_hash",
    "previous",
    "slm_token",
    "llm_token",
    "entropy",
    "sentence_entropy",
    "relation",
    "keep_grade",
    "offload_grade",
    "target",
    "weight",
    "rollouts",
];
/// A column that a table may lack.
const PROBABILITY: &str = "llm_probability";
const LISTS: [&str; 3] = ["top_ids", "top_probabilities", "hidden"];

/// Encodes one shard. Equal rows give equal bytes.
///
/// # Errors
/// No rows, or rows whose hidden states or top lists differ in width.
pub fn encode_labels(rows: &[LabelRow]) -> Result<Vec<u8>, StoreError> {
    let ids: Vec<Vec<u32>> = rows.iter().map(|r| r.top.iter().map(|t| t.0).collect()).collect();
    let probabilities: Vec<Vec<f32>> =
        rows.iter().map(|r| r.top.iter().map(|t| t.1).collect()).collect();
    let hidden: Vec<&[f32]> = rows.iter().map(|r| r.hidden.as_slice()).collect();
    let mut columns = scalar_columns(rows);
    columns.extend([
        Column::new("margin".into(), rows.iter().map(margin).collect::<Vec<_>>()),
        array_column::<UInt32Type>(KIND, "top_ids", &slices(&ids))?,
        array_column::<Float32Type>(KIND, "top_probabilities", &slices(&probabilities))?,
        array_column::<Float32Type>(KIND, "hidden", &hidden)?,
    ]);
    encode(KIND, rows.len(), columns)
}

/// Encodes one shard without what the SLM says again: `hidden`, the top lists and `margin`.
/// [`Columns::Scalars`] reads it.
///
/// # Errors
/// No rows.
pub fn encode_judgements(rows: &[LabelRow]) -> Result<Vec<u8>, StoreError> {
    encode(KIND, rows.len(), scalar_columns(rows))
}

fn scalar_columns(rows: &[LabelRow]) -> Vec<Column> {
    let strings = |name: &str, of: fn(&LabelRow) -> &str| {
        Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>())
    };
    let whole = |name: &str, of: fn(&LabelRow) -> u32| {
        Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>())
    };
    let float = |name: &str, of: fn(&LabelRow) -> f32| {
        Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>())
    };
    let hashes: Vec<u64> = rows.iter().map(|r| r.prefix_hash).collect();
    let mut columns = vec![
        strings("question", |r| &r.question),
        strings("split", |r| &r.split),
        whole("round", |r| r.round),
        whole("position", |r| r.position),
        Column::new("prefix_hash".into(), hashes),
        whole("previous", |r| r.previous),
        whole("slm_token", |r| r.slm_token),
        whole("llm_token", |r| r.llm_token),
        strings("relation", |r| r.relation.name()),
        float("keep_grade", |r| r.keep_grade),
        float("offload_grade", |r| r.offload_grade),
        float("target", |r| r.target),
        float("weight", |r| r.weight),
        whole("rollouts", |r| r.rollouts),
        float("entropy", |r| r.entropy),
        float("sentence_entropy", |r| r.sentence_entropy),
    ];
    // Left out where no row has it, so that tables without it have the bytes of earlier versions.
    if rows.iter().any(|r| r.llm_probability.is_some()) {
        columns.push(float(PROBABILITY, |r| r.llm_probability.unwrap_or(f32::NAN)));
    }
    columns
}

/// Writes one shard.
///
/// # Errors
/// As [`encode_labels`], or a failed write.
pub fn write_labels(path: &Path, rows: &[LabelRow]) -> Result<(), StoreError> {
    atomic::write(path, &encode_labels(rows)?)
}

/// Reads one shard.
///
/// # Errors
/// A file that cannot be read, is truncated, lacks a column, or has nulls or an unknown
/// relation.
pub fn read_labels(path: &Path, columns: Columns) -> Result<Vec<LabelRow>, StoreError> {
    parse_labels(path, &atomic::read(path)?, columns)
}

/// Reads the shards that a manifest records, in name order. The bytes that are read are those
/// that are held to the recorded hashes; other shards of the directory are not read.
///
/// # Errors
/// A shard that has changed or is missing, and those of [`read_labels`].
pub fn read_recorded_labels(
    dir: &Path,
    manifest: &Manifest,
    columns: Columns,
) -> Result<Vec<LabelRow>, StoreError> {
    let mut rows = Vec::new();
    let shards = manifest.outputs.iter().filter(|(name, _)| name.ends_with(".parquet"));
    for (name, recorded) in shards {
        let path = dir.join(name);
        let bytes = atomic::read(&path)?;
        if hash::sha256(&bytes) != *recorded {
            return Err(StoreError::Format {
                path,
                kind: KIND,
                what: "it has changed since it was labelled; run `tokenroute label` again"
                    .to_owned(),
            });
        }
        rows.extend(parse_labels(&path, &bytes, columns)?);
    }
    Ok(rows)
}

fn parse_labels(path: &Path, bytes: &[u8], columns: Columns) -> Result<Vec<LabelRow>, StoreError> {
    let mut names = SCALARS.to_vec();
    if columns == Columns::All {
        names.extend(LISTS);
    }
    let table = Table::parse_with(path, bytes, KIND, &names, PROBABILITY)?;
    let mut rows = scalars(&table)?;
    if table.has(PROBABILITY) {
        for (row, &p) in rows.iter_mut().zip(table.f32s(PROBABILITY)?) {
            row.llm_probability = (!p.is_nan()).then_some(p);
        }
    }
    if columns == Columns::All {
        let (ids, k) = table.u32_arrays("top_ids")?;
        let (probabilities, p) = table.f32_arrays("top_probabilities")?;
        let (hidden, width) = table.f32_arrays("hidden")?;
        if k != p || k == 0 || width == 0 {
            return Err(table.error(format!(
                "`top_ids` has {k} entries a row, `top_probabilities` {p}, `hidden` {width}"
            )));
        }
        let lists = ids.chunks_exact(k).zip(probabilities.chunks_exact(k));
        for ((row, (ids, probabilities)), hidden) in
            rows.iter_mut().zip(lists).zip(hidden.chunks_exact(width))
        {
            row.top = ids.iter().copied().zip(probabilities.iter().copied()).collect();
            row.hidden = hidden.to_vec();
        }
    }
    Ok(rows)
}

/// The shards of a label directory, in name order.
///
/// # Errors
/// A directory that cannot be read or has no shards.
pub fn label_shards(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut shards = atomic::list(dir)?;
    shards.retain(|p| p.extension().is_some_and(|e| e == "parquet"));
    if shards.is_empty() {
        return Err(StoreError::Format {
            path: dir.to_owned(),
            kind: "label table directory",
            what: "it has no .parquet shards; run `tokenroute label` first".to_owned(),
        });
    }
    Ok(shards)
}

/// Reads all shards of a directory in name order.
///
/// # Errors
/// As [`label_shards`] and [`read_labels`].
pub fn read_labels_dir(dir: &Path, columns: Columns) -> Result<Vec<LabelRow>, StoreError> {
    let mut rows = Vec::new();
    for shard in label_shards(dir)? {
        rows.extend(read_labels(&shard, columns)?);
    }
    Ok(rows)
}

fn scalars(table: &Table) -> Result<Vec<LabelRow>, StoreError> {
    let text = |name| table.strings(name).map(|values| values.iter());
    let whole = |name| table.u32s(name).map(|values| values.iter().copied());
    let float = |name| table.f32s(name).map(|values| values.iter().copied());
    let questions = table.strings("question")?;
    let (mut splits, mut relations) = (text("split")?, text("relation")?);
    let mut hashes = table.u64s("prefix_hash")?.iter().copied();
    let (mut rounds, mut positions) = (whole("round")?, whole("position")?);
    let (mut previous, mut slm) = (whole("previous")?, whole("slm_token")?);
    let (mut llm, mut rollouts) = (whole("llm_token")?, whole("rollouts")?);
    let (mut entropies, mut sentence) = (float("entropy")?, float("sentence_entropy")?);
    let (mut keep, mut offload) = (float("keep_grade")?, float("offload_grade")?);
    let (mut targets, mut weights) = (float("target")?, float("weight")?);
    let mut rows = Vec::with_capacity(questions.len());
    for question in questions {
        // All columns have the same height, so `next` always returns a value.
        let name = relations.next().map_or("", String::as_str);
        let relation = Relation::from_name(name)
            .ok_or_else(|| table.error(format!("`relation` holds {name:?}, which is unknown")))?;
        rows.push(LabelRow {
            question: question.clone(),
            split: splits.next().cloned().unwrap_or_default(),
            round: rounds.next().unwrap_or_default(),
            position: positions.next().unwrap_or_default(),
            prefix_hash: hashes.next().unwrap_or_default(),
            previous: previous.next().unwrap_or_default(),
            slm_token: slm.next().unwrap_or_default(),
            llm_token: llm.next().unwrap_or_default(),
            llm_probability: None,
            top: Vec::new(),
            entropy: entropies.next().unwrap_or_default(),
            sentence_entropy: sentence.next().unwrap_or_default(),
            hidden: Vec::new(),
            relation,
            keep_grade: keep.next().unwrap_or_default(),
            offload_grade: offload.next().unwrap_or_default(),
            target: targets.next().unwrap_or_default(),
            weight: weights.next().unwrap_or_default(),
            rollouts: rollouts.next().unwrap_or_default(),
        });
    }
    Ok(rows)
}

fn margin(row: &LabelRow) -> f32 {
    let p = |i: usize| row.top.get(i).map_or(0.0, |t| t.1);
    p(0) - p(1)
}

fn slices<T>(rows: &[Vec<T>]) -> Vec<&[T]> {
    rows.iter().map(Vec::as_slice).collect()
}
