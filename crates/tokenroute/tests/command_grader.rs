//! The grader `command`: a program judges every answer, and only with leave.

#![cfg(unix)]

mod support;

use support::{Lab, fail, succeed};

/// Right if the answer states the key in parentheses, as the bundled pair does.
const GRADE: &str = r#"line=$(cat)
key=$(printf '%s' "$line" | sed 's/.*"key":"\([A-Z]\)".*/\1/')
case "$line" in *"answer is "*"($key)"*) exit 0 ;; *) exit 1 ;; esac
"#;

/// A laboratory whose questions are read by their columns.
fn lab(grader: &str) -> Lab {
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
    lab.write("experiments/e/grade.sh", GRADE);
    lab
}

fn command(program: &str, more: &str) -> String {
    format!("grader = \"command\"\ncommand = {{ program = {program}{more} }}")
}

/// Accuracies of both models alone.
fn accuracies(lab: &Lab) -> String {
    let csv = lab.bytes("reports/e/summary.json");
    let summary: serde_json::Value = serde_json::from_slice(&csv).expect("JSON");
    let mut found = Vec::new();
    collect(&summary, "", &mut found);
    assert!(!found.is_empty(), "the summary has accuracies");
    found.join("\n")
}

fn collect(value: &serde_json::Value, path: &str, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, value)| collect(value, &format!("{path}.{key}"), found));
        }
        serde_json::Value::Array(list) => {
            list.iter().for_each(|value| collect(value, &format!("{path}[]"), found));
        }
        // The walk asks whether two answers are the same. Of a program it knows only their texts.
        _ if path.contains("rollout-oracle") => {}
        value if path.contains("accuracy") => found.push(format!("{path} {value}")),
        _ => {}
    }
}

#[test]
fn a_program_grades_like_the_grader_that_it_imitates() {
    let own = lab("grader = \"stated-letter\"");
    succeed(&["run", &own.experiment()]);
    let program = lab(&command("[\"sh\", \"grade.sh\"]", ""));
    succeed(&["run", &program.experiment(), "--allow-commands"]);
    assert_eq!(accuracies(&own), accuracies(&program));
    // A finished stage needs no leave. A changed program makes its labels anew, which does.
    succeed(&["run", &program.experiment()]);
    program.write("experiments/e/grade.sh", "exit 1\n");
    fail(&["run", &program.experiment()], &["--allow-commands", "sh grade.sh"]);
}

#[test]
fn a_program_that_does_not_judge_is_an_error() {
    let broken = [
        (
            "[\"sh\", \"-c\", \"exit 3\"]",
            "",
            &["question ", "exit status: 3", "0 (right) or 1"][..],
        ),
        ("[\"sh\", \"-c\", \"kill -9 $$\"]", "", &["question ", "signal: 9"]),
        (
            "[\"sleep\", \"60\"]",
            ", seconds = 0.2",
            &["question ", "longer than data.command.seconds, 0.2"],
        ),
        ("[\"no-such-program\"]", "", &["question ", "cannot be started"]),
    ];
    let lab = lab(&command("[\"sh\", \"grade.sh\"]", ""));
    let text = String::from_utf8(lab.bytes("experiments/e/experiment.toml")).expect("UTF-8");
    for (program, more, parts) in broken {
        let changed = text.replace("[\"sh\", \"grade.sh\"]", &format!("{program}{more}"));
        lab.write("experiments/e/experiment.toml", &changed);
        fail(&["label", &lab.experiment(), "--allow-commands"], parts);
        let labels = lab.path("experiments/e/run/labels/round-0");
        let shards = std::fs::read_dir(labels.join("partial")).into_iter().flatten().flatten();
        let shards = shards.filter(|e| e.path().extension().is_some_and(|e| e == "parquet"));
        assert_eq!(shards.count(), 0, "{program}: no shard is written");
    }
}

#[test]
fn a_command_that_cannot_work_is_refused_before_a_model_is_loaded() {
    let lab = lab(&command("[\"sh\", \"grade.sh\"]", ""));
    fail(&["label", &lab.experiment()], &["--allow-commands"]);
    assert!(!lab.path("experiments/e/run/labels/round-0").exists(), "it fails before it labels");
    for (set, parts) in [
        ("data.command.program=[]", &["data.command.program", "is empty"][..]),
        ("data.command.program=[\"./missing\"]", &["missing", "does not exist"]),
        ("data.command.seconds=0", &["data.command.seconds", "is 0"]),
        ("data.grader=choice", &["data.command", "is not used"]),
    ] {
        fail(&["label", &lab.experiment(), "--allow-commands", "--set", set], parts);
    }
}
