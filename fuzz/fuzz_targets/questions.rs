//! Takes one byte for the schema and reads the rest as a file of questions: Parquet if it
//! has Parquet's first bytes, JSON, JSON Lines or CSV. One value of the byte stands for a map
//! of columns.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_fuzz::Folder;
use tokenroute_store::{ColumnMap, Schema, load_mapped, load_questions};

const SCHEMAS: [Schema; 11] = [
    Schema::CommonsenseQa,
    Schema::Gsm8k,
    Schema::Arc,
    Schema::OpenbookQa,
    Schema::Mmlu,
    Schema::Plain,
    Schema::StrategyQa,
    Schema::BoolQ,
    Schema::Aqua,
    Schema::Math,
    Schema::Asdiv,
];

/// Columns of the last choice.
static COLUMNS: LazyLock<ColumnMap> = LazyLock::new(|| {
    let map = serde_json::json!({
        "question": ["p", "q.stem"], "choices": "c", "answer": "a", "rationale": "r", "id": "i",
    });
    serde_json::from_value(map).expect("a map")
});

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

fuzz_target!(|bytes: &[u8]| {
    let Some((first, file)) = bytes.split_first() else { return };
    let path = FOLDER.put("rows", file);
    let read = match SCHEMAS.get(usize::from(*first) % (SCHEMAS.len() + 1)) {
        Some(schema) => load_questions(&path, *schema, None),
        None => load_mapped(&path, &COLUMNS, None),
    };
    for question in read.unwrap_or_default() {
        question.check().expect("a question that was checked");
    }
});
