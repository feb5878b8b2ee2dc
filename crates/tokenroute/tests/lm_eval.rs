//! lm-evaluation-harness on the bundled pair, as it comes: its grades are those of the exact
//! sweep, its log-likelihoods those of transformers. Without Python or the harness, the test
//! prints a note and passes.
#![cfg(all(feature = "server", feature = "flex"))]

mod support;

use support::{Lab, python, root};

#[test]
fn the_harness_gives_the_figures_of_the_sweep() {
    let lab = Lab::new(30, 8, 6);
    let all = r#"["random", "entropy", "lookup-tokens", "handoff", "query-cascade", "handoff-whole", "query-head", "query-agreement", "rollout-oracle"]"#;
    lab.replace("experiments/e/experiment.toml", all, "[]");
    let [work, report] = ["work", "report"].map(|name| lab.path(name).display().to_string());
    let experiment = lab.experiment();
    let program = env!("CARGO_BIN_EXE_tokenroute");
    let options = [
        ["--program", program],
        ["--experiment", &experiment],
        ["--work", &work],
        ["--out", &report],
        ["--questions", "6"],
        ["--taus", "0.5"],
    ];
    let said = python(&root().join("experiments/lm-eval/run.py"), options.as_flattened());
    println!("lm-eval: {}", said.trim());
    assert!(said.starts_with("skipped") || lab.path("report/results.json").exists());
}
