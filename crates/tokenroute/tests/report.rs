//! The folders of reports, and the network study that a new report keeps.

mod support;

use support::{Lab, fail, succeed};

const FOLDER: &str = "folder = \"../../reports/e\"\n";
const RUN: &str = "experiments/e/run";

#[test]
fn a_run_writes_under_run_alone_and_a_copy_goes_where_it_is_asked() {
    let lab = Lab::new(20, 8, 8);
    lab.replace("experiments/e/experiment.toml", FOLDER, "");
    let experiment = lab.experiment();
    let table = succeed(&["run", &experiment, "--set", "data.test=6"]);
    assert!(table.contains("e/run/report/index.html"), "{table}");
    assert!(!lab.path("reports").exists(), "a run writes nothing outside run/");
    let home = |name: &str| lab.bytes(&format!("{RUN}/report/{name}"));
    let summary: serde_json::Value = serde_json::from_slice(&home("summary.json")).expect("JSON");
    assert_eq!(summary["questions"], 6);
    errors_add_up(&summary["errors"]);
    let page = String::from_utf8(home("README.md")).expect("UTF-8");
    assert!(page.contains("experiment.toml --set 'data.test=6'"), "{page}");

    // Without the override other stages must run.
    fail(&["calibrate", &experiment, "--offload", "0.1"], &["stale", "tokenroute sweep"]);
    let wished = ["calibrate", &experiment, "--offload", "0.1", "--set", "data.test=6"];
    assert!(succeed(&wished).contains("τ = "));

    let out = lab.path("copy").display().to_string();
    let report = ["report", &experiment, "--set", "data.test=6", "--out", &out];
    assert!(succeed(&report).contains("copy/index.html"));
    for name in ["index.html", "README.md", "summary.json", "curve.csv", "curve.svg"] {
        assert_eq!(lab.bytes(&format!("copy/{name}")), home(name), "{name}");
    }
    assert!(!lab.path("copy/manifest.json").exists());
}

/// Every group has all positions, and an error is at most what it is a part of.
fn errors_add_up(errors: &serde_json::Value) {
    assert_eq!(errors["split"], "validation", "test questions are not labelled here");
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let total = &errors["total"];
    assert!(number(&total["positions"]) > 0.0 && number(&total["divergent"]) > 0.0, "{total}");
    assert!(number(&total["misses"]) <= number(&total["divergent"]));
    for groups in ["by_class", "by_step"] {
        for key in ["positions", "divergent", "misses", "false_alarms"] {
            let groups = errors[groups].as_array().expect("a list");
            let sum: f64 = groups.iter().map(|group| number(&group["counts"][key])).sum();
            assert!((sum - number(&total[key])).abs() < 1e-6, "{key}: {sum}");
        }
    }
    let questions = errors["by_question"].as_array().expect("a list");
    assert_eq!(questions.iter().filter_map(|group| group["questions"].as_u64()).sum::<u64>(), 8);
    for miss in errors["costliest"].as_array().expect("a list") {
        assert!(miss["score"].as_f64() >= errors["tau"].as_f64(), "{miss}");
        assert_ne!(miss["slm"], miss["llm"], "{miss}");
        let begins = miss["position"] == 0;
        assert_eq!(miss["context"].as_str().is_some_and(str::is_empty), begins, "{miss}");
    }
}

#[test]
fn a_network_study_outlives_run() {
    let lab = Lab::new(20, 8, 8);
    let experiment = lab.experiment();
    succeed(&["run", &experiment]);
    let study = ["--questions", "1", "--round-trips", "0", "--bandwidths", "0", "--tau", "0.9"];
    let arguments: Vec<&str> = ["latency", &experiment].into_iter().chain(study).collect();
    succeed(&arguments);
    let out = lab.path("copy").display().to_string();
    succeed(&["report", &experiment, "--out", &out]);
    let page = |folder: &str| {
        let bytes = lab.bytes(&format!("{folder}/README.md"));
        String::from_utf8(bytes).expect("UTF-8").contains("Accuracy against latency")
    };
    assert!(page("reports/e") && page("copy"));

    // The study is kept, from the earlier report or from the copy, until the router changes.
    std::fs::remove_dir_all(lab.path(&format!("{RUN}/latency"))).expect("a study");
    succeed(&["report", &experiment, "--set", "sweep.resamples=40"]);
    assert!(page("reports/e"), "from the report before");
    std::fs::remove_dir_all(lab.path("reports/e")).expect("a report");
    succeed(&["report", &experiment, "--out", &out]);
    assert!(page("reports/e") && page("copy"), "from the copy");

    std::fs::remove_dir_all(lab.path("reports/e")).expect("a report");
    std::fs::remove_file(lab.path("copy/network.json")).expect("a study");
    fail(&["report", &experiment, "--out", &out], &["network study", "tokenroute latency"]);
    assert!(page("copy"), "a study that is not at hand is not overwritten");
}
