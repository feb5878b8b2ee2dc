//! The grader `command`: a program judges every answer, and only with leave.

use crate::support::{Lab, fail, succeed};
use crate::{accuracies, lab as any_lab};

/// Right if the answer states the key in parentheses, as the bundled pair does.
const GRADE: &str = r#"line=$(cat)
key=$(printf '%s' "$line" | sed 's/.*"key":"\([A-Z]\)".*/\1/')
case "$line" in *"answer is "*"($key)"*) exit 0 ;; *) exit 1 ;; esac
"#;

fn lab(grader: &str) -> Lab {
    let lab = any_lab(grader);
    lab.write("experiments/e/grade.sh", GRADE);
    lab
}

fn command(program: &str, more: &str) -> String {
    format!("grader = \"command\"\ncommand = {{ program = {program}{more} }}")
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
