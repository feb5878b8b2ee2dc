//! The example of the page "Your own questions" is an experiment, and its file of questions is
//! read as the page says.

use std::path::{Path, PathBuf};

use tokenroute_lab::Experiment;
use tokenroute_store::load_mapped;

/// The content of the page's block that begins with this text.
fn block(begins: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/guides/own-questions.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let blocks = page.split("```").skip(1).step_by(2);
    let mut blocks = blocks.filter_map(|block| Some(block.split_once('\n')?.1));
    let found = blocks.find(|block| block.starts_with(begins));
    found.unwrap_or_else(|| panic!("the page has no block that begins with {begins}")).to_owned()
}

fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).expect("a write");
    path
}

#[test]
fn the_pages_example_works() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = put(dir.path(), "experiment.toml", &block("title"));
    let experiment = Experiment::load(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
    let columns = experiment.data.columns.expect("columns");
    // The five lines at the top of the page are those of the experiment.
    let lines = block("[data.columns]");
    assert!(block("title").contains(&lines) && lines.lines().count() == 5, "{lines}");
    let csv = block("frage");
    let questions = load_mapped(&put(dir.path(), "trivia.csv", &csv), &columns, None);
    let questions = questions.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(questions.len(), 2);
    assert_eq!(questions[0].choices.text, ["tree", "water", "cloud"]);
    assert_eq!((questions[0].answer_key.as_str(), questions[1].answer_key.as_str()), ("B", "D"));
    let wrong = put(dir.path(), "trivia.csv", &csv.replace("whale,D", "whale,E"));
    let error = load_mapped(&wrong, &columns, None).expect_err("no choice").to_string();
    assert!(error.ends_with(block("trivia.csv, line 3").trim()), "{error}");
}
