//! A chat template that opens the model's thinking: what never leaves it is wrong.

use tokenroute_store::{Columns, read_labels_dir};

use crate::support::{Lab, succeed};

/// How many grades of a label table are not 0, with this at the end of every prompt.
fn right(end: &str) -> usize {
    let lab = Lab::new(8, 4, 4);
    let template = format!("{{{{ messages[-1]['content'] + '\\n{end}' }}}}");
    lab.write("models/word-problems-slm/chat_template.jinja", &template);
    let sets = ["--set", "data.prompt.chat=true", "--set", "label.rounds=0"];
    succeed(&[&["label", &lab.experiment()][..], &sets].concat());
    let labels = lab.path("experiments/e/run/labels/round-0");
    let rows = read_labels_dir(&labels, Columns::All).expect("a table");
    assert!(rows.len() > 50, "{} rows", rows.len());
    rows.iter().filter(|row| row.keep_grade > 0.0 || row.offload_grade > 0.0).count()
}

#[test]
fn an_answer_that_never_leaves_the_thinking_of_its_prompt_is_wrong() {
    assert!(right("") > 0);
    assert_eq!(right("<think>\\n"), 0);
}
