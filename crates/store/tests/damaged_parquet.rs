//! Parquet files with changed bytes give rows or an error. They never end the process and
//! never take more memory than the file's size allows.

mod counting;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tokenroute_store::{Schema, load_questions};

/// Held by the test that measures: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Loads a file. Returns the number of questions, and the peak memory in bytes.
fn load(path: &Path, schema: Schema) -> (Result<usize, String>, usize) {
    let read = || load_questions(path, schema, None).map(|q| q.len()).map_err(|e| e.to_string());
    let (found, [_, _, peak]) = counting::counted(read);
    (found, peak)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(name)
}

#[test]
fn changed_bytes_give_rows_or_an_error() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rows.parquet");
    for (name, schema) in [
        ("commonsense-qa.parquet", Schema::CommonsenseQa),
        ("mmlu.parquet", Schema::Mmlu),
        ("pairs-gzip.parquet", Schema::Plain),
        ("pairs-zstd-v2.parquet", Schema::Plain),
        ("many-delta-v1.parquet", Schema::Plain),
        ("many-delta-brotli-v2.parquet", Schema::Plain),
        ("many-lz4-v2.parquet", Schema::Plain),
        ("many-duckdb-v2.parquet", Schema::Plain),
    ] {
        // Brotli's window takes up to 16 MiB beside the rows.
        let most = if name.contains("brotli") { 40 << 20 } else { 17 << 20 };
        let whole = fs::read(file(name)).expect("the file");
        for at in (4..whole.len()).step_by(2) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at / 2 % 8);
            fs::write(&path, &bytes).expect("a write");
            let (found, memory) = load(&path, schema);
            assert!(memory < most, "{name}, byte {at}: {memory} bytes");
            if let Err(error) = found {
                assert!(error.contains("rows.parquet"), "{error}");
            }
        }
    }
}

/// A page that states a negative number of values, for which polars asks for 2^61 bytes.
#[test]
fn a_false_number_of_values_is_an_error() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("rows.parquet");
    let mut bytes = fs::read(file("mmlu.parquet")).expect("the file");
    bytes[154] = 111;
    fs::write(&path, &bytes).expect("a write");
    let (found, memory) = load(&path, Schema::Mmlu);
    let error = found.expect_err("damaged");
    assert!(error.contains("rows.parquet is not a usable question file: column"), "{error}");
    assert!(memory < 1 << 20, "{memory} bytes");
}

/// A few thousand bytes that stand for a million rows.
#[test]
fn rows_without_bytes_behind_them_are_refused() {
    let _alone = ALONE.lock();
    let (found, memory) = load(&file("million-rows.parquet"), Schema::Plain);
    let error = found.expect_err("too many rows");
    assert!(error.contains("too much for a file of its size"), "{error}");
    assert!(memory < 128 << 20, "{memory} bytes");
}
