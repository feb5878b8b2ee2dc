//! Checks the wording of sources and documents: none of a list of phrases that readers
//! stumble over occurs in a comment, a string or a page.

use std::path::{Path, PathBuf};

/// Phrases to write otherwise. The last one prints a Debug name to users.
const PHRASES: [&str; 6] =
    ["whoever", "in vain", "so many", "the wish", "that it end", "{cause:?}"];

/// (File, phrase) that is allowed, with a reason in a comment.
const ALLOWED: &[(&str, &str)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// Adds the files of one kind below a folder, without build outputs and hidden folders.
fn visit(folder: &Path, kind: &str, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "target" && name != "node_modules" && !name.starts_with('.') {
                visit(&path, kind, files);
            }
        } else if path.extension().is_some_and(|e| e == kind) {
            files.push(path);
        }
    }
}

/// The text in lower case, without comment marks and line breaks, so that a phrase is found
/// across lines.
fn flowing(text: &str) -> String {
    let words = text.lines().flat_map(|line| {
        let line = line.trim().trim_end_matches('\\');
        let line = line.trim_start_matches('/').trim_start_matches('!');
        line.split_whitespace()
    });
    words.collect::<Vec<_>>().join(" ").to_lowercase()
}

/// Whether the phrase occurs in the text as whole words.
fn contains(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, found)| {
        let before = text[..at].ends_with(char::is_alphanumeric);
        let after = text[at + found.len()..].starts_with(char::is_alphanumeric);
        !before && !after
    })
}

#[test]
fn sources_and_pages_are_in_plain_words() {
    let root = root();
    let mut files = vec![root.join("README.md")];
    for (folder, kind) in [("crates", "rs"), ("tools", "rs"), ("fuzz", "rs"), ("docs/src", "md")] {
        visit(&root.join(folder), kind, &mut files);
    }
    let mut found = Vec::new();
    for file in files {
        let name = file.strip_prefix(&root).expect("a file of the workspace");
        let name = name.to_string_lossy().replace('\\', "/");
        if name == "crates/tokenroute/tests/words.rs" {
            continue;
        }
        let text = flowing(&std::fs::read_to_string(&file).expect("text in UTF-8"));
        for phrase in PHRASES {
            if contains(&text, phrase) && !ALLOWED.contains(&(name.as_str(), phrase)) {
                found.push(format!("{name}: {phrase:?}"));
            }
        }
    }
    assert!(found.is_empty(), "write these in plain words:\n{}", found.join("\n"));
}

#[test]
fn phrases_are_found_across_lines_and_as_whole_words() {
    let text = flowing("/// Waits in\n    /// vain for\n//! the wished end \"so \\\n  many\"");
    let found: Vec<&str> = PHRASES.into_iter().filter(|phrase| contains(&text, phrase)).collect();
    assert_eq!(found, ["in vain", "so many"]);
}
