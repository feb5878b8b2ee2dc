//! Takes one byte for the schema and reads the rest as a file of questions: Parquet if it
//! has Parquet's first bytes, else JSON Lines.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_fuzz::Folder;
use tokenroute_store::{Schema, load_questions};

const SCHEMAS: [Schema; 6] = [
    Schema::CommonsenseQa,
    Schema::Gsm8k,
    Schema::Arc,
    Schema::OpenbookQa,
    Schema::Mmlu,
    Schema::Plain,
];

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

fuzz_target!(|bytes: &[u8]| {
    let Some((first, file)) = bytes.split_first() else { return };
    let path = FOLDER.put("rows", file);
    let schema = SCHEMAS[usize::from(*first) % SCHEMAS.len()];
    for question in load_questions(&path, schema, None).unwrap_or_default() {
        question.check().expect("a question that was checked");
    }
});
