//! Parquet files of questions take work and memory in proportion to their size, counted by an
//! allocator: twice the file may cost 2.5 times as much.

mod counting;

use counting::counted;
use polars::prelude::{Column, DataFrame, ParquetWriter};
use tempfile::TempDir;
use tokenroute_store::{Schema, load_questions};

/// Writes a table with groups of this many rows.
fn parquet(height: usize, columns: Vec<Column>, group: usize) -> Vec<u8> {
    let mut frame = DataFrame::new(height, columns).expect("columns of one height");
    let mut bytes = Vec::new();
    let writer = ParquetWriter::new(&mut bytes).with_row_group_size(Some(group));
    writer.finish(&mut frame).expect("a file");
    bytes
}

fn texts(name: &str, height: usize, text: impl Fn(usize) -> String) -> Column {
    Column::new(name.into(), (0..height).map(text).collect::<Vec<String>>())
}

fn rows(n: usize, group: usize) -> Vec<u8> {
    let columns = vec![
        texts("question", n, |i| format!("How many are {i} apples?")),
        texts("answer", n, |i| format!("#### {i}")),
    ];
    parquet(n, columns, group)
}

/// Allocations, bytes, and live bytes at most, of reading a file.
fn cost(bytes: &[u8]) -> [usize; 3] {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("rows.parquet");
    std::fs::write(&path, bytes).expect("a file");
    let read = || {
        for schema in [Schema::Gsm8k, Schema::CommonsenseQa, Schema::Plain] {
            drop(load_questions(&path, schema, None));
        }
    };
    counted(read).1
}

#[test]
fn parquet_files_take_work_in_proportion() {
    type Family<'f> = (&'f str, usize, &'f dyn Fn(usize) -> Vec<u8>);
    let families: [Family<'_>; 7] = [
        ("rows", 4000, &|n| rows(n, 1 << 20)),
        ("rows of one text", 4000, &|n| {
            let columns = vec![
                texts("question", n, |_| "Why?".into()),
                texts("answer", n, |_| "#### 1".into()),
            ];
            parquet(n, columns, 1 << 20)
        }),
        ("groups of rows", 200, &|n| rows(n, 1)),
        ("a long text", 300_000, &|n| {
            let columns = vec![
                texts("question", 1, |_| "a ".repeat(n)),
                texts("answer", 1, |_| "#### 1".into()),
            ];
            parquet(1, columns, 1)
        }),
        ("other columns", 300, &|n| {
            let mut columns = vec![
                texts("question", 1, |_| "Why?".into()),
                texts("answer", 1, |_| "#### 1".into()),
            ];
            columns.extend((0..n).map(|i| texts(&format!("column {i}"), 1, |_| "x".into())));
            parquet(1, columns, 1)
        }),
        ("long names of columns", 30, &|n| {
            let mut columns = vec![
                texts("question", 1, |_| "Why?".into()),
                texts("answer", 1, |_| "#### 1".into()),
            ];
            columns.extend(
                (0..n).map(|i| texts(&format!("{}{i}", "c".repeat(2000)), 1, |_| "x".into())),
            );
            parquet(1, columns, 1)
        }),
        ("cut short", 4000, &|n| {
            let mut bytes = rows(n, 1 << 20);
            bytes.truncate(bytes.len() - 9);
            bytes
        }),
    ];
    let mut found = Vec::new();
    for (name, n, make) in families {
        let (once, twice) = (make(n), make(2 * n));
        cost(&once);
        let (less, more) = (cost(&once), cost(&twice));
        let kinds = [("allocations", 200), ("bytes", 256 << 10), ("live bytes", 256 << 10)];
        for ((less, more), (what, few)) in less.into_iter().zip(more).zip(kinds) {
            if more as f64 > 2.5 * less as f64 + few as f64 {
                found.push(format!("{name}: {less} {what} for {n}, {more} for twice as much"));
            }
        }
    }
    assert!(found.is_empty(), "these grow too fast:\n{}", found.join("\n"));
}
