//! Graders that ask: a program of the user's, and a model on a server.
#![cfg(all(unix, feature = "lab"))]

mod command;
mod judge;
#[path = "../support/mod.rs"]
mod support;
mod thinking;

use support::Lab;

/// A laboratory whose questions are read by their columns.
pub fn lab(grader: &str) -> Lab {
    let lab = Lab::new(20, 8, 8);
    let files = ["router-train", "validation", "test"].map(|split| {
        format!("files.{split} = {{ file = \"../../datasets/word-problems/{split}.jsonl\" }}\n")
    });
    let columns = "columns = { id = \"id\", question = \"question\", choices = \"choices\", answer = \"answerKey\" }";
    lab.replace(
        "experiments/e/experiment.toml",
        "dataset = \"../../datasets/word-problems\"\n",
        &format!("{columns}\n{grader}\n{}", files.concat()),
    );
    lab
}

/// Accuracies of both models and of every policy that goes by right and wrong alone.
pub fn accuracies(lab: &Lab) -> String {
    let csv = lab.bytes("reports/e/summary.json");
    let summary: serde_json::Value = serde_json::from_slice(&csv).expect("JSON");
    let mut found = Vec::new();
    collect(&summary, "", &mut found);
    assert!(!found.is_empty(), "the summary has accuracies");
    found.join("\n")
}

/// Policies that ask whether two answers are the same. Of a program's verdicts they know only the
/// texts.
const SAME_ANSWER: [&str; 2] = ["rollout-oracle", "query-agreement"];

fn collect(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        _ if SAME_ANSWER.iter().any(|policy| path.ends_with(policy)) => {}
        value if SAME_ANSWER.iter().any(|policy| value["name"] == *policy) => {}
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, value)| collect(value, &format!("{path}.{key}"), found));
        }
        serde_json::Value::Array(list) => {
            list.iter().for_each(|value| collect(value, &format!("{path}[]"), found));
        }
        value if path.contains("accuracy") => found.push(format!("{path} {value}")),
        _ => {}
    }
}
