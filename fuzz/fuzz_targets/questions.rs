//! One byte for the schema, then any bytes as a file of questions: JSON Lines, or
//! Parquet where they begin as Parquet does.
#![no_main]

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Whether the input is Parquet. Polars panics on some damaged files and the loader
/// makes errors of that; libfuzzer's hook would end the process at the first one. A
/// panic that leaves the loader is still caught, by libfuzzer itself.
static PARQUET: AtomicBool = AtomicBool::new(false);

fuzz_target!(
    init: {
        let end = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !PARQUET.load(Ordering::Relaxed) {
                end(panic);
            }
        }));
    },
    |bytes: &[u8]| {
        let Some((first, file)) = bytes.split_first() else { return };
        PARQUET.store(file.starts_with(b"PAR1"), Ordering::Relaxed);
        let path = FOLDER.put("rows", file);
        let schema = SCHEMAS[usize::from(*first) % SCHEMAS.len()];
        for question in load_questions(&path, schema, None).unwrap_or_default() {
            question.check().expect("a question that was checked");
        }
    }
);
