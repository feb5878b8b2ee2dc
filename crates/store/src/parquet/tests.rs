//! Files of pyarrow, pandas and DuckDB hold what their JSON Lines beside them hold.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::each_row;

fn files() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files")
}

fn rows(name: &str) -> Result<Vec<Map<String, Value>>, String> {
    let bytes = std::fs::read(files().join(name)).expect("the file");
    let mut rows = Vec::new();
    each_row(
        &bytes,
        |what| what,
        |_, row| {
            rows.push(row);
            Ok(())
        },
    )?;
    Ok(rows)
}

#[test]
fn every_encoding_and_codec_gives_the_same_rows() {
    let text = std::fs::read_to_string(files().join("many.jsonl")).expect("the rows");
    let expected: Vec<Map<String, Value>> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(expected.len(), 40);
    for name in [
        "many-delta-v1",
        "many-delta-brotli-v2",
        "many-lz4",
        "many-lz4-v2",
        "many-brotli",
        "many-pandas",
        "many-duckdb-v1",
        "many-duckdb-v2",
    ] {
        let found = rows(&format!("{name}.parquet")).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(found.len(), expected.len(), "{name}");
        for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "{name}, row {i}");
        }
    }
}
