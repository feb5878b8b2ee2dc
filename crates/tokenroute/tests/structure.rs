//! The house as `crates/README.md` describes it: every crate listed, only the
//! allowed arrows between crates, no heavy dependency in an edge-only build,
//! and every module opening with what it owns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Arrows besides `core`, which every crate may use, and `tokenroute`, which may use all.
const ARROWS: &[(&str, &str)] = &[
    ("model", "kernels"),
    ("lab", "hub"),
    ("lab", "label"),
    ("lab", "llm"),
    ("lab", "model"),
    ("lab", "runtime"),
    ("lab", "store"),
    ("lab", "sweep"),
    ("lab", "train"),
    ("label", "store"),
    ("train", "store"),
    ("bundled-pair", "store"),
    ("bundled-pair", "model"),
    ("bundled-pair", "runtime"),
    ("label", "runtime"),
    ("sweep", "runtime"),
    ("server", "runtime"),
    ("server", "model"),
    ("server", "llm"),
];

/// Arrows that only tests and benches may draw: parity with the decoder, and the
/// scripted LLMs.
const TEST_ARROWS: &[(&str, &str)] =
    &[("train", "model"), ("runtime", "llm"), ("label", "llm"), ("sweep", "llm")];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// Every crate's name and folder.
fn crates() -> BTreeMap<String, PathBuf> {
    let folders = ["crates", "tools"]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(root().join(folder)).expect("a folder of crates"));
    folders
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.join("Cargo.toml").is_file())
        .map(|path| {
            let name = path.file_name().expect("a name").to_str().expect("a name in UTF-8");
            (name.to_owned(), path)
        })
        .collect()
}

#[test]
fn the_code_map_lists_every_crate() {
    let map = std::fs::read_to_string(root().join("crates/README.md")).expect("crates/README.md");
    for name in crates().keys() {
        assert!(map.contains(&format!("`{name}`")), "crates/README.md does not list `{name}`");
    }
}

#[test]
fn only_the_allowed_arrows_are_drawn() {
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata");
    let folder = |name: &str| name.trim_start_matches("tokenroute-").to_owned();
    for package in &metadata.packages {
        let from = folder(&package.name);
        for dependency in package.dependencies.iter().filter(|d| d.name.starts_with("tokenroute")) {
            let to = folder(&dependency.name);
            let arrow = (from.as_str(), to.as_str());
            let allowed = to == "core"
                || from == "tokenroute"
                || ARROWS.contains(&arrow)
                || (dependency.kind == DependencyKind::Development && TEST_ARROWS.contains(&arrow));
            assert!(allowed, "{from} -> {to} is not an arrow of crates/README.md");
        }
    }
}

#[test]
fn an_edge_only_build_pulls_neither_burn_nor_polars() {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--locked", "-p", "tokenroute", "--no-default-features"])
        .args(["-e", "normal,build", "--prefix", "none"])
        .output()
        .expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(tree.contains("candle-core"), "cargo tree printed no tree:\n{tree}");
    for line in tree.lines() {
        assert!(
            !line.starts_with("burn") && !line.starts_with("polars"),
            "an edge-only build pulls {line}"
        );
    }
}

#[test]
fn every_module_says_what_it_owns() {
    fn visit(folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                visit(&path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("source");
                assert!(text.starts_with("//! "), "{} does not open with //!", path.display());
            }
        }
    }
    for home in crates().values() {
        for part in ["src", "tests", "benches"] {
            let folder = home.join(part);
            if folder.is_dir() {
                visit(&folder);
            }
        }
    }
}
