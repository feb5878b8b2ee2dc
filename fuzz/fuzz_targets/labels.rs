//! Reads a shard of a label table: any bytes, or a sound shard with some bytes replaced.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_core::{LabelRow, Relation};
use tokenroute_fuzz::{Folder, let_panics_be_caught, spoilt};
use tokenroute_store::{Columns, encode_labels, read_labels};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let row = |position: u32| LabelRow {
        question: "q".to_owned(),
        split: "train".to_owned(),
        round: 0,
        position,
        prefix_hash: u64::from(position),
        previous: 1,
        slm_token: 2,
        llm_token: 3,
        llm_probability: (position > 0).then_some(0.5),
        top: vec![(2, 0.75), (3, 0.25)],
        entropy: 0.5,
        sentence_entropy: 0.5,
        hidden: vec![0.5; 4],
        relation: Relation::Divergent,
        keep_grade: 0.0,
        offload_grade: 1.0,
        target: 0.0,
        weight: 1.0,
        rollouts: 1,
    };
    encode_labels(&(0..20).map(row).collect::<Vec<_>>()).expect("a sound shard")
});

fuzz_target!(|bytes: &[u8]| {
    // The reader turns a panic of the Parquet library into an error.
    let_panics_be_caught();
    let path = FOLDER.put("shard.parquet", &spoilt(&SOUND, bytes));
    for columns in [Columns::All, Columns::Scalars] {
        let _ = read_labels(&path, columns);
    }
});
