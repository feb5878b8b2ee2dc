//! A pair with two tokenizers: the whole chain on the bundled pair, whose LLM reads text through a
//! tokenizer of its own. The exact sweep equals brute force.

mod support;

use serde_json::Value;
use support::{Lab, fail, succeed};

const LLM: &str = "models/word-problems-llm/tokenizer.json";

/// An experiment whose LLM lacks the last merges, so that it reads the same words in other tokens.
fn lab() -> Lab {
    let lab = Lab::new(20, 8, 8);
    let mut tokenizer: Value = serde_json::from_slice(&lab.bytes(LLM)).expect("JSON");
    let merges = tokenizer["model"]["merges"].as_array_mut().expect("a list");
    merges.truncate(merges.len() * 2 / 3);
    lab.write(LLM, &tokenizer.to_string());
    lab
}

const THROUGH: [&str; 2] = ["--set", "pair.through_text=true"];

#[test]
fn the_chain_runs_on_two_tokenizers_and_its_sweep_is_exact() {
    let lab = lab();
    let experiment = lab.experiment();
    fail(&["run", &experiment], &["merges differ", "through_text = true"]);
    let with = |command: &[&str]| succeed(&[command, &THROUGH].concat());
    let table = with(&["run", &experiment]);
    assert!(table.contains("SLM alone"), "{table}");
    let checked = with(&["check-sweep", &experiment, "--questions", "6"]);
    assert!(checked.contains("6 questions at 21 values of τ"), "{checked}");

    let page = String::from_utf8(lab.bytes("reports/e/index.html")).expect("UTF-8");
    assert!(page.contains("In its own tokens the LLM answers"), "no notice");
    let took: Value =
        serde_json::from_slice(&lab.bytes("experiments/e/run/sweep/took.json")).expect("JSON");
    let count = |name: &str| took["text"][name].as_u64().expect("a count");
    assert!(count("answers") > 100 && count("positions") > count("answers"), "{took}");
    assert!(count("respelled") < count("answers"), "{took}");

    // Nothing has changed, so nothing is made again.
    let curves = lab.bytes("experiments/e/run/sweep/curves.parquet");
    with(&["run", &experiment]);
    assert_eq!(lab.bytes("experiments/e/run/sweep/curves.parquet"), curves);
}

#[test]
fn policies_and_servers_that_text_does_not_serve_are_refused_early() {
    let lab = lab();
    let experiment = lab.experiment();
    let cascade = "sweep.baselines=[\"speculative-cascade\"]";
    let run = ["run", &experiment, "--set", cascade];
    fail(&[&run[..], &THROUGH].concat(), &["speculative-cascade", "pair.through_text"]);
    let run = ["run", &experiment, "--set", "pair.llm=http://127.0.0.1:9"];
    fail(&[&run[..], &THROUGH].concat(), &["pair.through_text", "runs here"]);
}
