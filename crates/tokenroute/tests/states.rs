//! Hidden states from files as an engine writes them: the same table where they are the SLM's
//! own, and refusals by name where they are not.

mod support;

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Output};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::Value;
use support::{Lab, complain, fail, succeed};
use tokenroute_core::{LabelRow, LanguageModel};
use tokenroute_model::{LoadOptions, load_model};
use tokenroute_store::{Columns, read_labels_dir};

const ROUND: [&str; 2] = ["--set", "label.rounds=0"];
const LABELS: &str = "experiments/e/run/labels/round-0";

/// A laboratory with its label table, its rows and the lines of `--paths`.
fn labelled() -> (Lab, Vec<LabelRow>, Vec<Value>) {
    let lab = Lab::new(6, 3, 3);
    let experiment = lab.experiment();
    let file = lab.path("paths.jsonl").display().to_string();
    let printed = succeed(&[&["label", &experiment, "--paths", &file], &ROUND[..]].concat());
    assert!(printed.contains("9 paths in"), "{printed}");
    succeed(&[&["label", &experiment], &ROUND[..]].concat());
    let rows = read_labels_dir(&lab.path(LABELS), Columns::All).expect("labels");
    let text = String::from_utf8(lab.bytes("paths.jsonl")).expect("UTF-8");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (lab, rows, lines)
}

/// A file for each path with the states of the table, changed.
fn write_states(
    folder: &Path,
    rows: &[LabelRow],
    lines: &[Value],
    change: impl Fn(&[f32]) -> Vec<f32>,
) {
    std::fs::create_dir_all(folder).expect("a folder");
    let mut of: HashMap<(&str, &str), Vec<&LabelRow>> = HashMap::new();
    for row in rows {
        of.entry((&row.split, &row.question)).or_default().push(row);
    }
    for (i, line) in lines.iter().enumerate() {
        let ids: Vec<i64> = serde_json::from_value(line["token_ids"].clone()).expect("ids");
        let key = (line["split"].as_str().expect("text"), line["question"].as_str().expect("text"));
        let rows = &of[&key];
        let width = change(&rows[0].hidden).len();
        // Nothing reads the states of the prompt's tokens before its last.
        let mut states = vec![0f32; (ids.len() - rows.len()) * width];
        rows.iter().for_each(|row| states.extend(change(&row.hidden)));
        let states: Vec<u8> = states.iter().flat_map(|x| x.to_le_bytes()).collect();
        let tokens: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let views = [
            ("hidden_states", TensorView::new(Dtype::F32, vec![ids.len(), 1, width], &states)),
            ("token_ids", TensorView::new(Dtype::I64, vec![ids.len()], &tokens)),
        ];
        let views = views.map(|(name, view)| (name, view.expect("a tensor")));
        let bytes = safetensors::serialize(views, None).expect("a file");
        std::fs::write(folder.join(format!("request-{i}.safetensors")), bytes).expect("a file");
    }
}

/// Labels anew with states, and with notes.
fn label(lab: &Lab, folder: &Path) -> Output {
    let labels = lab.path("experiments/e/run/labels");
    if labels.exists() {
        std::fs::remove_dir_all(labels).expect("removed");
    }
    Command::new(env!("CARGO_BIN_EXE_tokenroute"))
        .args(["label", &lab.experiment(), "--states"])
        .arg(folder)
        .args(ROUND)
        .output()
        .expect("a process")
}

fn shards(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(lab.path(LABELS)).expect("a folder");
    let paths = files.map(|file| file.expect("an entry").path());
    let shards = paths.filter(|path| path.extension() == Some("parquet".as_ref()));
    let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
    let mut read: Vec<_> =
        shards.map(|path| (name(&path), std::fs::read(path).expect("a file"))).collect();
    read.sort();
    read
}

/// The weights of the SLM's final norm: the norm of equal numbers.
fn norm(lab: &Lab) -> Vec<f32> {
    let options = LoadOptions::default();
    let slm = load_model(&lab.path("models/word-problems-slm"), &options).expect("a model");
    slm.decoder.final_norm(&vec![1.0; slm.decoder.info().hidden]).expect("a norm")
}

#[test]
fn states_of_an_engine_give_the_table_of_the_slm() {
    let (lab, rows, lines) = labelled();
    let own = shards(&lab);
    let folder = lab.path("states");
    write_states(&folder, &rows, &lines, <[f32]>::to_vec);
    let output = label(&lab, &folder);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("after the final norm"), "{said}");
    assert!(shards(&lab) == own, "the SLM's own states give its own table");
    // Later stages take the table as it is.
    assert!(succeed(&[&["label", &lab.experiment()], &ROUND[..]].concat()).contains("rows in"));
    let manifest = String::from_utf8(lab.bytes(&format!("{LABELS}/manifest.json"))).expect("UTF-8");
    assert!(manifest.contains("\"states\": true"), "{manifest}");
    succeed(&[&["train", &lab.experiment()], &ROUND[..]].concat());

    // Before the norm, a state has another length.
    let weights = norm(&lab);
    let before = |hidden: &[f32]| hidden.iter().zip(&weights).map(|(h, w)| 3.0 * h / w).collect();
    write_states(&folder, &rows, &lines, before);
    let output = label(&lab, &folder);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("before the final norm"), "{said}");
    let found = read_labels_dir(&lab.path(LABELS), Columns::All).expect("labels");
    assert_eq!(found.len(), rows.len());
    let same = found.iter().zip(&rows).filter(|(a, b)| a.slm_token == b.slm_token).count();
    assert!(same * 100 >= rows.len() * 99, "{same} of {}", rows.len());
}

#[test]
fn states_of_something_else_are_refused_by_name() {
    let (lab, rows, lines) = labelled();
    let folder = lab.path("states");
    let reversed = |hidden: &[f32]| hidden.iter().rev().copied().collect();
    write_states(&folder, &rows, &lines, reversed);
    complain(&label(&lab, &folder), &["request-", "row", "off the SLM's own state", "10%"]);
    write_states(&folder, &rows, &lines, |hidden| hidden[1..].to_vec());
    complain(&label(&lab, &folder), &["request-", "numbers; the SLM's have"]);
    write_states(&folder, &rows, &lines, <[f32]>::to_vec);
    // A path of the same prompt and another answer is found when the LLM has answered.
    let mut other = lines.clone();
    let ids = other[4]["token_ids"].as_array_mut().expect("ids");
    let last = ids.last_mut().expect("an id");
    *last = (last.as_i64().expect("an id") - 1).abs().into();
    write_states(&folder, &rows, &other, <[f32]>::to_vec);
    complain(&label(&lab, &folder), &["has the states of a path of", "--paths"]);
    write_states(&folder, &rows, &lines, <[f32]>::to_vec);
    std::fs::write(folder.join("request-4.safetensors"), "{}").expect("a file");
    complain(&label(&lab, &folder), &["request-4.safetensors", "2 bytes"]);

    let states = folder.display().to_string();
    let experiment = lab.experiment();
    let refused = |more: &[&str], parts: &[&str]| {
        fail(&[&["label", &experiment, "--states", &states], more].concat(), parts);
        let paths = lab.path("refused.jsonl").display().to_string();
        fail(&[&["label", &experiment, "--paths", &paths], more].concat(), parts);
        assert!(!lab.path("refused.jsonl").exists());
    };
    refused(&["--set", "label.continuation=slm"], &["\"slm\"", "without --states"]);
    refused(&["--set", "label.reference=walk"], &["\"walk\"", "without --states"]);
    let empty = lab.path("empty").display().to_string();
    fail(&["label", &lab.experiment(), "--states", &empty], &["empty", "*.safetensors"]);
}

#[test]
fn questions_without_states_are_named_before_the_first_shard() {
    let (lab, rows, lines) = labelled();
    let folder = lab.path("states");
    write_states(&folder, &rows, &lines, <[f32]>::to_vec);
    // Both are of the second shard.
    for file in ["request-7.safetensors", "request-8.safetensors"] {
        std::fs::remove_file(folder.join(file)).expect("removed");
    }
    let first = lines[7]["question"].as_str().expect("an id");
    complain(&label(&lab, &folder), &["2 of 9 questions", first, "validation", "--paths"]);
    assert!(!lab.path(LABELS).exists(), "it fails before it labels");
    // A part needs the states of its own questions alone.
    let part = |part: &str| {
        let states = folder.display().to_string();
        let part = ["label", &lab.experiment(), "--states", &states, "--part", part];
        Command::new(env!("CARGO_BIN_EXE_tokenroute")).args(part).args(ROUND).output()
    };
    let first_part = part("1/2").expect("a process");
    assert!(first_part.status.success(), "{}", String::from_utf8_lossy(&first_part.stderr));
    complain(&part("2/2").expect("a process"), &["2 of 3 questions", first]);
}

#[test]
fn an_interrupted_round_goes_on_with_states_of_the_same_source() {
    let (lab, rows, lines) = labelled();
    let own = shards(&lab);
    let folder = lab.path("states");
    // The states of the second shard are of something else, so that the run ends after the first.
    write_states(&folder, &rows, &lines[6..], |hidden| hidden[1..].to_vec());
    for (i, line) in lines.iter().enumerate().skip(6) {
        let name = |i: usize| folder.join(format!("request-{i}.safetensors"));
        std::fs::rename(name(i - 6), name(i)).expect("renamed");
        assert_eq!(line["split"], "validation");
    }
    write_states(&folder, &rows, &lines[..6], <[f32]>::to_vec);
    complain(&label(&lab, &folder), &["numbers; the SLM's have"]);
    let partial = lab.path(LABELS).join("partial");
    let kept = || std::fs::read(partial.join("round0-router-train-00000.parquet")).expect("kept");
    let before = kept();

    let experiment = lab.experiment();
    for command in ["label", "run"] {
        let without = [&[command, &experiment], &ROUND[..]].concat();
        fail(&without, &["1 finished shards that were made with `--states`", "go on with it"]);
    }
    assert!(kept() == before, "nothing is lost");
    write_states(&folder, &rows, &lines, <[f32]>::to_vec);
    let states = folder.display().to_string();
    succeed(&[&["label", &experiment, "--states", &states], &ROUND[..]].concat());
    assert!(shards(&lab) == own);
}
