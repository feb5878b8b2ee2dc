//! A router that remembers earlier steps, and a loss that reads the LLM's probabilities, through
//! the whole chain.

mod support;

use support::{Lab, fail, succeed};

const FILE: &str = "experiments/e/experiment.toml";
const TRAIN: &str = "[train]\nepochs = 3\n";

#[test]
fn a_router_that_remembers_is_swept_exactly() {
    let lab = Lab::new(24, 8, 8);
    let settings = r#"
architecture = { kind = "gru", width = 6 }
features = ["probabilities", "position", { kind = "mean", of = "hidden", steps = 4 }]
"#;
    lab.replace(FILE, TRAIN, &format!("{TRAIN}{settings}"));
    let experiment = lab.experiment();
    // An on-policy round decodes with such a router, and its rollouts branch off from the path.
    succeed(&["run", &experiment]);
    let checked = succeed(&["check-sweep", &experiment, "--questions", "6"]);
    assert!(checked.contains("6 questions at 21 values of τ"), "{checked}");
    let summary: serde_json::Value =
        serde_json::from_slice(&lab.bytes("reports/e/summary.json")).expect("JSON");
    assert!(summary["sweep"]["decoded_tokens"].as_u64() > Some(0));
}

#[test]
fn co_llm_needs_the_llms_probabilities_in_the_table() {
    let lab = Lab::new(24, 8, 8);
    let experiment = lab.experiment();
    let loss = "train.loss={ kind = \"co-llm\" }";
    let train = ["train", &experiment, "--set", loss];
    // Before anything is labelled.
    fail(&train, &["train.loss", "set label.llm_probabilities = true"]);
    let labels = "label.llm_probabilities=true";
    let text = [&train[..], &["--set", labels, "--set", "pair.through_text=true"]].concat();
    fail(&text, &["label.llm_probabilities", "pair.through_text"]);
    succeed(&["label", &experiment, "--set", labels, "--set", loss]);
    let printed = succeed(&[&train[..], &["--set", labels]].concat());
    assert!(printed.contains("auroc"), "{printed}");
}
