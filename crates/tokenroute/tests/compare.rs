//! Several routers on one label table: what a kill leaves, what a new router costs, and which
//! files are refused.

mod support;

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Lab, complain, fail, succeed, tokenroute};

const COMPARE: &str = r#"
title = "Heads"
experiment = "experiment.toml"
baselines = ["entropy", "lookup-tokens"]

[[router]]
name = "hidden state"
train.architecture = { kind = "linear", rewards = 1 }
train.features = "hidden"
train.l2 = 1.0
train.share = [0.5, 1]

[[router]]
name = "MLP"
train.architecture = { kind = "mlp", widths = [6], activation = "relu", rewards = 1 }
train.features = "both"
train.dropout = 0.1
train.seeds = 2
"#;

const RUN: &str = "experiments/e/run/comparisons/compare";

fn lab(compare: &str) -> (Lab, String) {
    let lab = Lab::new(24, 8, 8);
    lab.write("experiments/e/compare.toml", compare);
    let path = lab.path("experiments/e/compare.toml").display().to_string();
    (lab, path)
}

/// Routers and curves, by path.
fn made(lab: &Lab) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for part in ["routers", "curves"] {
        for folder in std::fs::read_dir(lab.path(&format!("{RUN}/{part}"))).expect("a folder") {
            let folder = folder.expect("an entry").path();
            for file in std::fs::read_dir(&folder).into_iter().flatten() {
                let path = file.expect("an entry").path();
                let name = path.strip_prefix(lab.path(RUN)).expect("inside").display().to_string();
                // Times are measured.
                if !name.ends_with("took.json") && !name.ends_with("step.json") {
                    found.insert(name, std::fs::read(&path).expect("a file"));
                }
            }
        }
    }
    found
}

/// The summary without times.
fn summary(lab: &Lab) -> Value {
    let bytes = lab.bytes(&format!("{RUN}/report/summary.json"));
    let mut summary: Value = serde_json::from_slice(&bytes).expect("JSON");
    for router in summary["routers"].as_array_mut().expect("a list") {
        router.as_object_mut().expect("an object").remove("microseconds");
    }
    summary
}

#[test]
fn a_killed_comparison_ends_with_the_same_bytes_and_a_new_router_is_made_alone() {
    let (whole, path) = lab(COMPARE);
    let printed = succeed(&["compare", &path]);
    assert!(printed.contains("hidden state: APGR[0, .2]") && printed.contains("index.html"));
    let found = summary(&whole);
    let names: Vec<&str> = found["routers"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|r| r["name"].as_str())
        .collect();
    let part = "hidden state, 50% of the questions";
    assert_eq!(names, ["hidden state", "MLP", part, "entropy", "lookup-tokens"]);
    assert_eq!(found["routers"][2]["part_of"], "hidden state");
    assert!(found["routers"][2]["rows"].as_u64() < found["routers"][0]["rows"].as_u64());
    assert_eq!(found["routers"][1]["seeds"].as_array().map(Vec::len), Some(2));
    assert!(found["routers"][1]["parameters"].as_u64() > Some(6));
    // Two tests: the points of a learning curve are none.
    let holm = |i: usize| found["routers"][i]["difference20"]["holm_p"].is_f64();
    assert_eq!([0, 1, 2, 3, 4].map(holm), [false, true, false, true, true]);

    // A chunk is there when the process is killed.
    let (killed, path) = lab(COMPARE);
    let first = killed.path(&format!("{RUN}/curves/mlp-seed-4/partial"));
    let chunks = || {
        let files = std::fs::read_dir(&first).into_iter().flatten().flatten();
        files.filter(|file| file.path().extension() == Some("parquet".as_ref())).count()
    };
    let mut child = tokenroute(&["compare", &path])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    let until = Instant::now() + Duration::from_secs(120);
    while chunks() == 0 && child.try_wait().expect("a process").is_none() && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(child.kill());
    child.wait().expect("an end");
    succeed(&["compare", &path]);
    assert!(made(&whole) == made(&killed), "routers or curves differ");
    assert_eq!(summary(&whole), summary(&killed));

    // Nothing has changed: nothing is made. A new router leaves the others alone.
    let report =
        || std::fs::metadata(killed.path(&format!("{RUN}/report/index.html"))).expect("a page");
    let before = report().modified().expect("a time");
    succeed(&["compare", &path]);
    assert_eq!(report().modified().expect("a time"), before);
    let old = made(&killed);
    let more = format!(
        "{COMPARE}\n[[router]]\nname = \"probabilities\"\ntrain.features = \"probabilities\"\ntrain.architecture = {{ kind = \"linear\", rewards = 1 }}\ntrain.l2 = 1.0\ntrain.rule = {{ kind = \"difference\" }}\n"
    );
    killed.write("experiments/e/compare.toml", &more);
    let mlp = || {
        let files = ["routers/mlp/manifest.json", "curves/mlp-seed-3/curves.parquet"];
        files.map(|file| {
            let file = std::fs::metadata(killed.path(&format!("{RUN}/{file}"))).expect("a file");
            file.modified().expect("a time")
        })
    };
    let before = mlp();
    let labels =
        || std::fs::metadata(killed.path("experiments/e/run/labels/round-0/manifest.json"));
    let labelled = || labels().and_then(|file| file.modified()).expect("a time");
    let table = labelled();
    assert!(succeed(&["compare", &path]).contains("probabilities: APGR[0, .2]"));
    assert_eq!(mlp(), before, "the others are not made again");
    assert_eq!(labelled(), table, "another label rule reads the same table");
    let new = made(&killed);
    assert!(old.iter().all(|(name, bytes)| new.get(name) == Some(bytes)) && new.len() > old.len());
}

#[test]
fn a_file_that_cannot_work_is_refused_before_anything_is_loaded() {
    let (lab, path) = lab(COMPARE);
    // Loading a model would fail.
    std::fs::write(lab.path("models/word-problems-slm/model.safetensors"), "none").expect("a file");
    let check = |from: &str, to: &str, parts: &[&str]| {
        assert!(COMPARE.contains(from), "{from}");
        lab.write("experiments/e/compare.toml", &COMPARE.replacen(from, to, 1));
        let output = tokenroute(&["compare", &path]).output().expect("a process");
        complain(&output, parts);
        let error = String::from_utf8_lossy(&output.stderr).trim_end().lines().count();
        assert_eq!(error, 1, "{output:?}");
    };
    check("name = \"MLP\"", "name = \"hidden state\"", &["\"hidden state\"", "occurs twice"]);
    check("name = \"MLP\"", "name = \"Hidden-State\"", &["same folder as \"hidden state\""]);
    check("\"mlp\"", "\"forest\"", &["router \"MLP\"", "`forest`", "`mlp`"]);
    check("\"both\"", "\"hiden\"", &["router \"MLP\"", "`hiden`", "`hidden`"]);
    check("widths = [6]", "widths = [0]", &["router \"MLP\"", "architecture.widths is [0]"]);
    check("dropout", "droput", &["router \"MLP\"", "`droput`"]);
    let rule = r#"train.rule = { kind = "majority" }"#;
    check("train.dropout = 0.1", rule, &["router \"MLP\"", "`majority`", "`cost-aware`"]);
    let rule = r#"train.rule = { kind = "cost-aware", lambda = -1 }"#;
    check("train.dropout = 0.1", rule, &["router \"MLP\"", "train.rule.lambda is -1"]);
    check("train.l2 = 1.0", "train.top_k = 40", &["train.top_k is 40", "hold 8"]);
    check("[0.5, 1]", "[0.5]", &["router \"hidden state\": train.share", "end with 1"]);
    check("[0.5, 1]", "0", &["router \"hidden state\": train.share is 0"]);
    check("\"entropy\"", "\"margin\"", &["baselines has \"margin\"", "random, entropy"]);
    lab.write(
        "experiments/e/compare.toml",
        "title = \"x\"\nexperiment = \"experiment.toml\"\nrouter = []",
    );
    fail(&["compare", &path], &["router is empty"]);
    lab.write("experiments/e/compare.toml", &COMPARE.replace("experiment.toml", "other.toml"));
    fail(&["compare", &path], &["other.toml"]);
}
