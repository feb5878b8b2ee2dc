//! The examples of the library run in the workspace's folder. Each prints the right answer,
//! marks the LLM's tokens, or keeps to its budget.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of an example. A whole `cargo test` builds it beside the tests; a single
/// test target does not.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let built = test.ancestors().nth(2).expect("the profile's folder");
    built.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION)
}

/// The lines that an example prints.
fn lines(name: &str) -> Vec<String> {
    let path = example(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
    let changed = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    assert!(
        changed(&path) >= changed(&source),
        "{} is missing or old; run `cargo build --examples` first",
        path.display()
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(&path).current_dir(root).output().expect("a process");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect()
}

#[test]
fn generate_prints_an_answer_and_its_offload_ratio() {
    let lines = lines("generate");
    assert!(lines[0].contains("the answer is Monday (D)"), "{lines:?}");
    assert!(lines[1].ends_with("% offloaded") && lines[1] != "0.0% offloaded", "{lines:?}");
}

#[test]
fn stream_marks_the_tokens_of_the_llm() {
    let lines = lines("stream");
    assert_eq!(lines.len(), 4, "{lines:?}");
    let marked: usize = [0, 2].iter().map(|&i| lines[i].matches('[').count()).sum();
    assert!(marked > 0 && !lines.concat().contains('\u{FFFD}'), "{lines:?}");
    assert!(lines[1].contains("tokens from the LLM"), "{lines:?}");
}

#[test]
fn custom_scorer_goes_from_the_slm_to_the_llm() {
    let lines = lines("custom_scorer");
    let share = |line: &str| -> f64 {
        let share = line.split(", ").nth(1).and_then(|part| part.split('%').next());
        share.and_then(|share| share.parse().ok()).expect("a share")
    };
    let shares: Vec<f64> = lines.iter().map(|line| share(line)).collect();
    assert_eq!((shares[0], shares[4]), (0.0, 100.0), "{lines:?}");
    assert!(shares[2] > 0.0 && shares[2] < 100.0, "{lines:?}");
}

#[cfg(feature = "lab")]
#[test]
fn sweep_tiny_keeps_to_every_budget() {
    let lines = lines("sweep_tiny");
    assert_eq!(lines.len(), 7, "{lines:?}");
    let number = |text: &str| text.trim().trim_end_matches('%').parse::<f64>().expect("a number");
    for line in &lines[1..] {
        let part = |from: &str, to: &str| {
            let rest = line.split_once(from).map(|(_, rest)| rest);
            number(rest.and_then(|rest| rest.split_once(to)).map_or("", |(part, _)| part))
        };
        let tau = line.find("τ = ").expect("a τ");
        let (budget, rest) = (part("at most ", "%"), &line[tau..]);
        let offloaded =
            number(rest.split(", ").nth(1).unwrap_or("").split('%').next().unwrap_or(""));
        assert!(offloaded <= budget, "{line}");
    }
}
