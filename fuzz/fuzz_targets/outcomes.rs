//! Reads any bytes as a table of outcomes: CSV, JSON, JSON Lines or Parquet.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_fuzz::Folder;
use tokenroute_store::{OutcomeColumns, read_outcomes};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.put("table", bytes);
    let Ok(table) = read_outcomes(&path, &OutcomeColumns::default()) else { return };
    for router in &table.routers {
        assert_eq!(router.keep.len(), table.questions.len());
        assert!(router.keep.iter().all(|score| score.is_finite()));
    }
});
