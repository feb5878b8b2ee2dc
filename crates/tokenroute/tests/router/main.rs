//! `tokenroute router`: routers in ONNX, published heads that are taken in, model cards, and
//! routers that were made elsewhere in a comparison.
#![cfg(feature = "lab")]

mod card;
#[allow(dead_code, reason = "the tests of `hub` use all of it")]
#[path = "../../../hub/tests/hub/server.rs"]
mod hub;
mod onnx;
mod published;
#[path = "../support/mod.rs"]
mod support;
mod swept;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::{model, tokenroute};

/// The folder of fixtures.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/router").join(name)
}

/// Decodes with the bundled pair, this router and further arguments.
fn generate(router: &str, more: &[&str]) -> Command {
    let [slm, llm] = ["word-problems-slm", "word-problems-llm"].map(model);
    let mut command =
        tokenroute(&["generate", "--slm", &slm, "--llm", &llm, "--router", router, "--text"]);
    command.arg("Mia has 12 pens.").args(more);
    command
}

/// Python with these modules: `TOKENROUTE_PYTHON`, or `python3`. `None` if they are not installed,
/// which is printed.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn python(modules: &str) -> Option<Command> {
    let program = std::env::var("TOKENROUTE_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let import = Command::new(&program).args(["-c", &format!("import {modules}")]).output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(Command::new(program));
    }
    eprintln!("skipped: {program} has not all of {modules}; set TOKENROUTE_PYTHON to one that has");
    None
}
