//! Reads a file of curves: any bytes, or a sound file with some bytes replaced.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tokenroute_core::{Curve, Piece, QuestionCurve};
use tokenroute_fuzz::{Folder, spoilt};
use tokenroute_store::{PolicyCurves, read_curves, write_curves};

static FOLDER: LazyLock<Folder> = LazyLock::new(Folder::default);

static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let piece = |end, offloaded| Piece {
        end,
        correct: offloaded > 0,
        cut: false,
        offloaded,
        generated: 9,
        llm_positions: 2 * offloaded,
    };
    let pieces = vec![piece(0.25, 0), piece(0.5, 3), piece(1.0, 9)];
    let question = |i: u32| QuestionCurve { question: format!("q{i}"), pieces: pieces.clone() };
    let policy = |policy: &str| PolicyCurves {
        policy: policy.to_owned(),
        split: "test".to_owned(),
        curves: (0..5).map(question).collect(),
    };
    let path = FOLDER.path().join("sound.parquet");
    write_curves(&path, &[policy("router"), policy("random")]).expect("a sound file");
    std::fs::read(path).expect("a file")
});

fuzz_target!(|bytes: &[u8]| {
    let path = FOLDER.put("curves.parquet", &spoilt(&SOUND, bytes));
    for policy in read_curves(&path).unwrap_or_default() {
        let curve = Curve::of(&policy.curves);
        let _ = curve.at(curve.tau_at_offload(0.3)).offload();
    }
});
