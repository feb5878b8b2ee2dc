//! Written values read back the same, equal values give equal bytes, and errors about
//! damaged files name the file and the cause.

use std::fs;
use std::path::Path;

use tokenroute_core::{
    Activation, Architecture, Choices, Curve, FeatureSpec, LabelRow, Normalisation, Piece, Platt,
    Question, QuestionCurve, Relation, RouterHeader, Tau, TauPoint, TrainingRecord,
};
use tokenroute_store::{
    Columns, Dataset, DatasetCard, FolderLock, Manifest, PolicyCurves, ReadAnew, RouterFile,
    RouterLayer, curve_csv, encode_labels, read_curves, read_labels, read_labels_dir,
    read_questions, read_recorded_labels, sha256, write_curves, write_labels,
};

fn question(id: &str) -> Question {
    Question {
        id: id.into(),
        question: "Mia has 2 apples and buys 3. How many?".into(),
        choices: Choices {
            label: ["A", "B"].map(String::from).to_vec(),
            text: ["5", "6"].map(String::from).to_vec(),
        },
        answer_key: "A".into(),
        grader: Default::default(),
        cot: Some("2 + 3 = 5. So the answer is 5 (A).".into()),
        family: Some("purchases".into()),
        steps: Some(1),
        operands: Some(vec!["2".into(), "3".into()]),
        program: None,
    }
}

fn row(i: u32, relation: Relation) -> LabelRow {
    let x = i as f32;
    LabelRow {
        question: format!("q{}", i / 3),
        split: "router-train".into(),
        round: 1,
        position: i % 3,
        prefix_hash: u64::MAX - u64::from(i),
        previous: i,
        slm_token: i + 1,
        llm_token: i + 2,
        llm_probability: None,
        top: vec![(i + 1, 0.5), (i + 2, 0.25 + x / 1e4), (i + 3, 0.125)],
        entropy: 0.1 * x,
        sentence_entropy: 0.2 * x,
        hidden: (0..5).map(|j| x / 7.0 - j as f32).collect(),
        relation,
        keep_grade: 0.0,
        offload_grade: 1.0,
        target: 0.5,
        weight: 1.0,
        rollouts: i,
    }
}

fn rows() -> Vec<LabelRow> {
    use Relation::*;
    [Identical, Neutral, BothWrong, Divergent, Unjudged, Identical, Divergent]
        .into_iter()
        .zip(0..)
        .map(|(relation, i)| row(i, relation))
        .collect()
}

fn router() -> RouterFile {
    let features = FeatureSpec { hidden: 2, top_k: 1, ..FeatureSpec::default() };
    let header = RouterHeader {
        format: RouterHeader::FORMAT,
        architecture: Architecture::Mlp {
            widths: vec![3],
            activation: Activation::Silu,
            rewards: 2,
        },
        features,
        normalisation: Normalisation { mean: vec![0.1; 5], scale: vec![1.5; 5] },
        platt: Platt { scale: 1.25, bias: -0.3 },
        full_precision: false,
        slm_hash: "a".into(),
        llm_hash: "b".into(),
        tokenizer_hash: "c".into(),
        labels_hash: "d".into(),
        calibration: vec![TauPoint { tau: Tau::new(0.1).expect("in range"), offload: 0.07 }],
        training: TrainingRecord { seed: 7, auroc: 0.9, ..TrainingRecord::default() },
    };
    let layer = |input: usize, output: usize| RouterLayer {
        weight: (0..input * output).map(|i| i as f32 / 3.0).collect(),
        bias: vec![0.5; output],
    };
    RouterFile { header, layers: vec![layer(5, 3), layer(3, 2)] }
}

/// The error's message.
fn message<T: std::fmt::Debug>(result: Result<T, tokenroute_store::StoreError>) -> String {
    result.expect_err("this input is bad").to_string()
}

#[test]
fn label_tables_round_trip_with_equal_bytes() {
    let dir = tempfile::tempdir().expect("a directory");
    let rows = rows();
    let bytes = encode_labels(&rows).expect("good rows");
    assert_eq!(bytes, encode_labels(&rows).expect("good rows"));
    write_labels(&dir.path().join("b.parquet"), &rows[..3]).expect("a write");
    write_labels(&dir.path().join("a.parquet"), &rows[3..]).expect("a write");
    fs::write(dir.path().join("manifest.json"), "{}").expect("a write");
    let read = read_labels_dir(dir.path(), Columns::All).expect("good shards");
    assert_eq!(read[..4], rows[3..], "shards come in name order");
    assert_eq!(read[4..], rows[..3]);
    let scalars = read_labels(&dir.path().join("a.parquet"), Columns::Scalars).expect("good");
    for (scalar, row) in scalars.iter().zip(&rows[3..]) {
        let bare = LabelRow { hidden: Vec::new(), top: Vec::new(), ..row.clone() };
        assert_eq!(*scalar, bare);
    }
    assert_eq!(scalars.len(), 4);
}

#[test]
fn the_llms_probability_is_a_column_where_a_row_has_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.parquet");
    let plain = encode_labels(&rows()).expect("good rows");
    let mut rows = rows();
    rows[1].llm_probability = Some(0.75);
    let bytes = encode_labels(&rows).expect("good rows");
    let named = |bytes: &[u8]| bytes.windows(15).any(|at| at == b"llm_probability");
    assert!(named(&bytes) && !named(&plain), "tables without it stay as they were");
    for columns in [Columns::All, Columns::Scalars] {
        write_labels(&path, &rows).expect("a write");
        let read = read_labels(&path, columns).expect("good");
        let found: Vec<_> = read.iter().map(|row| row.llm_probability).collect();
        let expected: Vec<_> = rows.iter().map(|row| row.llm_probability).collect();
        assert_eq!(found, expected, "{columns:?}");
    }
}

#[test]
fn unjudged_grades_stay_unknown() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.parquet");
    let unjudged = LabelRow { keep_grade: f32::NAN, weight: 0.0, ..row(0, Relation::Unjudged) };
    write_labels(&path, &[unjudged]).expect("a write");
    let read = read_labels(&path, Columns::All).expect("good");
    assert!(read[0].keep_grade.is_nan());
}

#[test]
fn damaged_label_tables_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.parquet");
    let bytes = encode_labels(&rows()).expect("good rows");
    for cut in [0, 3, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).expect("a write");
        assert!(message(read_labels(&path, Columns::All)).contains("a.parquet"), "cut at {cut}");
    }
    assert!(message(read_labels_dir(&dir.path().join("none"), Columns::All)).contains("none"));
    let mut ragged = rows();
    ragged[2].hidden.pop();
    assert!(message(encode_labels(&ragged)).contains("`hidden`"));
}

#[test]
fn datasets_are_pinned_by_their_card() {
    let dir = tempfile::tempdir().expect("a directory");
    let card = DatasetCard {
        name: "word-problems".into(),
        description: "Story problems.".into(),
        source: "bundled-pair generate".into(),
        revision: "1".into(),
        licence: "MIT OR Apache-2.0".into(),
        splits: [].into(),
    };
    let questions = [question("a"), question("b")];
    Dataset::create(dir.path(), card, &[("test", &questions), ("validation", &questions[..1])])
        .expect("a write");
    let dataset = Dataset::open(dir.path()).expect("a good card");
    assert_eq!(dataset.questions("test").expect("a good split"), questions);
    assert_eq!(dataset.split("validation").expect("a split").count, 1);
    let unknown = message(dataset.questions("dev"));
    assert!(unknown.contains("\"dev\"") && unknown.contains("test, validation"), "{unknown}");

    fs::write(dir.path().join("test.jsonl"), "").expect("a write");
    let changed = message(dataset.questions("test"));
    assert!(changed.contains("test.jsonl") && changed.contains("SHA-256"), "{changed}");
    fs::write(dir.path().join(Dataset::CARD), "name = 3").expect("a write");
    assert!(message(Dataset::open(dir.path())).contains("dataset.toml"));
}

#[test]
fn bad_question_lines_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("q.jsonl");
    let good = r#"{"id":"a","question":"2+3?","question_concept":"sum","choices":{"label":["A","B"],"text":["5","6"]},"answerKey":"A"}"#;
    let read = |line: &str| {
        fs::write(&path, format!("{good}\n{line}\n")).expect("a write");
        read_questions(&path)
    };
    let second = good.replace(r#""id":"a""#, r#""id":"b""#);
    assert_eq!(read(&second).expect("extra fields are allowed").len(), 2);
    for (line, cause) in [
        (r#"{"id":"#, "not a JSON object"),
        ("", "not a JSON object"),
        (good, "ids must be unique"),
        (&second.replace(r#","answerKey":"A""#, ""), "question \"b\": `answerKey` is missing"),
        (&second.replace(r#""answerKey":"A""#, r#""answerKey":"C""#), "`answerKey` is \"C\""),
        (&second.replace(r#""answerKey":"A""#, r#""answerKey":3"#), "`answerKey` is 3; expected"),
        (&second.replace(r#"["5","6"]"#, r#"["5"]"#), "`choices` needs"),
        (&second.replace(r#"["5","6"]"#, "[5,6]"), "`choices` is {"),
        (&second.replace(r#""2+3?""#, r#"" ""#), "`question` is empty"),
    ] {
        let error = message(read(line));
        assert!(error.contains("q.jsonl, line 2: ") && error.contains(cause), "{error}");
    }
    assert!(message(read_questions(&dir.path().join("none.jsonl"))).contains("none.jsonl"));
}

#[test]
fn router_files_round_trip_and_refuse_damage() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("router.safetensors");
    let router = router();
    router.write(&path).expect("a write");
    assert_eq!(RouterFile::read(&path).expect("a good file"), router);
    let bytes = fs::read(&path).expect("the file");
    assert_eq!(bytes, router.to_bytes().expect("a good router"));

    for cut in [0, 7, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).expect("a write");
        assert!(message(RouterFile::read(&path)).contains("router.safetensors"), "cut at {cut}");
    }
    // The last tensor's first value becomes a NaN.
    let mut nan = bytes.clone();
    let at = nan.len() - 4;
    nan[at..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, &nan).expect("a write");
    assert!(message(RouterFile::read(&path)).contains("not a finite number"));

    let mut newer = router.clone();
    newer.header.format = 99;
    newer.write(&path).expect("a write");
    assert!(message(RouterFile::read(&path)).contains("its format is 99"));
    let mut narrow = router.clone();
    narrow.layers[0].bias.pop();
    assert!(message(narrow.to_bytes()).contains("layers.0"));
    let mut short = router;
    short.layers.pop();
    assert!(message(short.to_bytes()).contains("1 layers"));
}

#[test]
fn curves_round_trip_and_print_as_csv() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("curves.parquet");
    let piece = |end, correct, cut, [offloaded, generated, llm_positions]: [u32; 3]| Piece {
        end,
        correct,
        cut,
        offloaded,
        generated,
        llm_positions,
    };
    let curve = |question: &str| QuestionCurve {
        question: question.into(),
        pieces: vec![piece(0.1, false, true, [0, 10, 0]), piece(1.0, true, false, [8, 8, 30])],
    };
    let policy = |name: &str, split: &str| PolicyCurves {
        policy: name.into(),
        split: split.into(),
        curves: vec![curve("a"), curve("b")],
    };
    let all = [policy("router", "test"), policy("router", "test-ood"), policy("random", "test")];
    write_curves(&path, &all).expect("a write");
    let bytes = fs::read(&path).expect("the file");
    assert_eq!(read_curves(&path).expect("a good file"), all);
    write_curves(&path, &all).expect("a write");
    assert_eq!(bytes, fs::read(&path).expect("the file"));

    let csv = curve_csv(&Curve::of(&all[0].curves));
    assert_eq!(
        csv,
        "tau_end,offload,accuracy,correct,cut,questions,offloaded,generated,llm_positions\n\
         0.1,0,0,0,2,2,0,20,0\n1,1,1,2,0,2,16,16,60\n"
    );
    let mut broken = all[..1].to_vec();
    broken[0].curves[1].pieces.pop();
    write_curves(&path, &broken).expect("a write");
    assert!(message(read_curves(&path)).contains("\"b\""));
}

#[test]
fn a_manifest_tells_finished_work_from_changed() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let work = |seed| {
        Manifest::new("label", serde_json::json!({"max_tokens": 128}), seed)
            .with_input("questions", &sha256(b"questions"))
    };
    let finished = |m: Manifest| m.finished(dir, &ReadAnew).expect("readable").is_some();
    assert!(!finished(work(1)));
    fs::write(dir.join("out.bin"), b"out").expect("a write");
    let mut done = work(1);
    done.add_output(dir, "out.bin").expect("the file is there");
    done.save(dir).expect("a write");
    assert!(finished(work(1)));
    let holds = |name| done.holds(dir, name, &ReadAnew).expect("readable");
    assert!(holds("out.bin") && !holds("other.bin"));
    assert!(!finished(work(2)), "another seed is other work");
    assert!(!finished(work(1).with_input("questions", "changed")));
    fs::write(dir.join("out.bin"), b"cut").expect("a write");
    assert!(!finished(work(1)), "an output has changed");
    fs::remove_file(dir.join("out.bin")).expect("a removal");
    assert!(!finished(work(1)), "an output is gone");
    assert!(!holds("out.bin"));
    fs::write(dir.join(Manifest::NAME), "{").expect("a write");
    assert!(message(work(1).finished(dir, &ReadAnew)).contains("manifest.json"));
    assert!(!exists_partial(dir));
}

fn exists_partial(dir: &Path) -> bool {
    fs::read_dir(dir)
        .expect("a directory")
        .any(|e| e.expect("an entry").file_name().to_string_lossy().starts_with('.'))
}

#[test]
fn a_damaged_shard_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.parquet");
    let sound = encode_labels(&rows()).expect("good rows");
    for place in (0..sound.len()).step_by(1 + sound.len() / 900) {
        let mut bytes = sound.clone();
        bytes[place] ^= 0x2a;
        fs::write(&path, bytes).expect("a write");
        for columns in [Columns::All, Columns::Scalars] {
            let read = std::panic::catch_unwind(|| read_labels(&path, columns));
            match read.unwrap_or_else(|_| panic!("byte {place} of {}", sound.len())) {
                // Bytes of a value, or of a part that is not read.
                Ok(read) => assert_eq!(read.len(), rows().len(), "byte {place}"),
                Err(error) => assert!(error.to_string().contains("a.parquet"), "{error}"),
            }
        }
    }
}

#[test]
fn a_table_has_the_rows_that_its_manifest_records() {
    let dir = tempfile::tempdir().expect("a directory");
    let dir = dir.path();
    let (first, second) = (&rows()[..3], &rows()[3..]);
    let mut manifest = Manifest::new("label", serde_json::json!({}), 1);
    for (name, rows) in [("a.parquet", first), ("b.parquet", second)] {
        write_labels(&dir.join(name), rows).expect("good rows");
        manifest.add_output(dir, name).expect("the shard");
    }
    // A shard that nobody has labelled, and then one with other rows.
    write_labels(&dir.join("c.parquet"), first).expect("good rows");
    let read = |columns| read_recorded_labels(dir, &manifest, columns);
    assert_eq!(read(Columns::All).expect("what was labelled"), rows());
    write_labels(&dir.join("b.parquet"), first).expect("good rows");
    for columns in [Columns::All, Columns::Scalars] {
        let text = message(read(columns));
        assert!(text.contains("b.parquet") && text.contains("tokenroute label"), "{text}");
    }
    fs::remove_file(dir.join("a.parquet")).expect("a removal");
    assert!(message(read(Columns::All)).contains("a.parquet"));
}

#[test]
fn a_locked_folder_names_its_holder() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().join("run");
    let lock = FolderLock::take(&folder, "process 17").expect("a free folder");
    let text = message(FolderLock::take(&folder, "process 18"));
    assert!(text.contains("process 17 works in") && text.contains("run"), "{text}");
    drop(lock);
    let lock = FolderLock::take(&folder, "\u{1b}[2J");
    let text = message(FolderLock::take(&folder, "process 19"));
    assert!(!text.contains(char::is_control), "{text:?}");
    drop(lock);
    FolderLock::take(&folder, "process 20").expect("free again");
}
