//! Routers that were made elsewhere, in a comparison: their exact sweep, a head from PyTorch, and
//! files that are refused.

use serde_json::Value;
use tokenroute_core::Features;
use tokenroute_model::RouterScorer;
use tokenroute_store::{Columns, read_labels_dir};

use super::generate;
use super::published::{as_slices, hidden, r2r, write};
use super::python;
use super::support::{Lab, fail, model, root, succeed, write_router};

const COMPARE: &str = r#"
title = "From elsewhere"
experiment = "experiment.toml"
baselines = ["entropy"]

[[router]]
name = "trained"
train.architecture = { kind = "linear", rewards = 1 }
train.features = "hidden"
train.l2 = 1.0
"#;

const FOLDER: &str = "experiments/e/run/comparisons/compare";

/// Writes the compare.toml with a router of a file, and returns its path.
fn with_file(lab: &Lab, name: &str, file: &str) -> String {
    let text = format!("{COMPARE}\n[[router]]\nname = \"{name}\"\nfile = \"{file}\"\n");
    lab.write("experiments/e/compare.toml", &text);
    lab.path("experiments/e/compare.toml").display().to_string()
}

fn summary(lab: &Lab) -> Value {
    serde_json::from_slice(&lab.bytes(&format!("{FOLDER}/report/summary.json"))).expect("JSON")
}

#[test]
fn a_router_file_is_swept_as_if_it_had_been_trained_here() {
    let lab = Lab::new(24, 8, 8);
    lab.write("experiments/e/compare.toml", COMPARE);
    let path = lab.path("experiments/e/compare.toml").display().to_string();
    succeed(&["compare", &path]);
    let trained = lab.path(&format!("{FOLDER}/routers/trained/seed-3.safetensors"));
    std::fs::copy(trained, lab.path("experiments/e/same.safetensors")).expect("a copy");
    let path = with_file(&lab, "the same", "same.safetensors");
    succeed(&["compare", &path]);
    let found = summary(&lab);
    for key in ["apgr", "apgr20", "points", "parameters", "rows"] {
        assert_eq!(found["routers"][0][key], found["routers"][1][key], "{key}");
    }
    assert_eq!(found["routers"][1]["changes"], "the file same.safetensors");
    let curves = |name: &str| lab.bytes(&format!("{FOLDER}/curves/{name}-seed-3/curves.parquet"));
    let sizes = [curves("trained"), curves("the-same")].map(|bytes| bytes.len());
    assert!(sizes[0] > 0 && sizes[1] > 0);

    // Another file under the same name is swept anew. It has no record of a training.
    write_router(&lab.path("experiments/e/same.safetensors"));
    succeed(&["compare", &path]);
    let other = summary(&lab);
    assert_ne!(other["routers"][1]["parameters"], found["routers"][1]["parameters"]);
    assert!(other["routers"][1]["seeds"][0]["auroc"].is_null());

    let both = format!("{COMPARE}\n[[router]]\nname = \"b\"\nfile = \"x\"\ntrain.seeds = 2\n");
    lab.write("experiments/e/compare.toml", &both);
    fail(&["compare", &path], &["router \"b\": train is there beside `file`"]);
    fail(&["compare", &with_file(&lab, "none", "none.safetensors")], &["none.safetensors"]);
    let slm = lab.bytes("models/word-problems-llm/model.safetensors");
    let config = lab.bytes("models/word-problems-llm/config.json");
    std::fs::write(lab.path("models/word-problems-slm/model.safetensors"), slm).expect("a file");
    std::fs::write(lab.path("models/word-problems-slm/config.json"), config).expect("a file");
    let path = with_file(&lab, "the same", "same.safetensors");
    fail(&["compare", &path], &["same.safetensors", "SLM weights"]);
}

#[test]
fn a_head_that_reads_more_of_a_step_leaves_the_label_table_as_it_is() {
    let lab = Lab::new(12, 6, 4);
    let state = lab.path("state.safetensors");
    write(&state, &as_slices(&r2r(hidden())));
    let out = lab.path("experiments/e/r2r.safetensors").display().to_string();
    let (state, slm) = (state.display().to_string(), model("word-problems-slm"));
    succeed(&["router", "import", "--from", "r2r", &state, "--slm", &slm, "--out", &out]);
    succeed(&["compare", &with_file(&lab, "R2R", "r2r.safetensors")]);
    let found = summary(&lab);
    let settings = found["routers"][1]["settings"].as_str().expect("words");
    assert!(settings.contains("R2R's head, imported (2 blocks) on hidden state, token and logits"));
    assert!(found["routers"][1]["points"].as_array().is_some_and(|points| !points.is_empty()));
    let plain = Lab::new(12, 6, 4);
    succeed(&["label", &plain.experiment()]);
    for round in ["round-0", "round-1"] {
        let manifest = format!("experiments/e/run/labels/{round}/manifest.json");
        assert_eq!(lab.bytes(&manifest), plain.bytes(&manifest), "{round}");
    }
}

/// Area under the ROC curve for divergent positions, of the judged validation rows.
fn auroc(lab: &Lab, scorer: &RouterScorer) -> f64 {
    let read = |round| {
        let folder = lab.path("experiments/e/run/labels").join(round);
        read_labels_dir(&folder, Columns::All).expect("labels")
    };
    let rows = [read("round-0"), read("round-1")].concat();
    let judged = rows.iter().filter(|row| row.split == "validation" && row.weight > 0.0);
    let scored: Vec<(f64, f64, f64)> = judged
        .map(|row| {
            let spec = &scorer.header().features;
            let features = Features::from_parts(spec, &row.hidden, &row.top, row.entropy);
            let score = scorer.score_features(&features.0).expect("a score").get();
            (score, f64::from(row.target), f64::from(row.weight))
        })
        .collect();
    let (mut right, mut all) = (0.0, 0.0);
    for (divergent, divergent_target, divergent_weight) in &scored {
        for (kept, target, weight) in &scored {
            let mass = (1.0 - divergent_target) * divergent_weight * target * weight;
            all += mass;
            right += mass * (f64::from(divergent < kept) + f64::from(divergent == kept) / 2.0);
        }
    }
    right / all
}

#[test]
fn a_head_from_pytorch_comes_back() {
    let Some(mut python) = python("torch, safetensors, numpy, pyarrow") else { return };
    let lab = Lab::new(60, 20, 8);
    succeed(&["label", &lab.experiment()]);
    let script = root().join("experiments/pytorch/train_head.py");
    let out = lab.path("experiments/e/pytorch.safetensors");
    let run = python.arg(script).arg(lab.path("experiments/e/run/labels")).arg(&out);
    let output = run.args(["--widths", "16", "--epochs", "8"]).output().expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    succeed(&["compare", &with_file(&lab, "PyTorch", "pytorch.safetensors")]);
    let found = summary(&lab);
    let router = &found["routers"][1];
    let settings = router["settings"].as_str().expect("words");
    assert!(settings.contains("MLP trained in PyTorch (widths [16])"), "{settings}");
    // The script ranks by the scores that it computed, the scorer by its own.
    let theirs = router["seeds"][0]["auroc"].as_f64().expect("a figure");
    let ours = auroc(&lab, &RouterScorer::open(&out).expect("a router"));
    assert!((ours - theirs).abs() < 1e-3, "{ours} against {theirs}");
    // Its calibration chooses τ.
    let router = out.display().to_string();
    let output = generate(&router, &["--offload", "0.1", "--max-tokens", "8"]).output();
    let output = output.expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
