//! The house as `crates/README.md` describes it: every crate listed, only the
//! allowed arrows between crates, no heavy dependency in an edge-only build,
//! and every module opening with what it owns.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Arrows besides `core`, which every crate may use, and `tokenroute`, which may use all.
const ARROWS: &[(&str, &str)] = &[
    ("model", "kernels"),
    ("lab", "hub"),
    ("lab", "label"),
    ("lab", "llm"),
    ("lab", "model"),
    ("lab", "report"),
    ("lab", "runtime"),
    ("lab", "server"),
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
    ("report", "sweep"),
    ("server", "runtime"),
    ("server", "model"),
    ("server", "llm"),
    ("ffi", "llm"),
    ("ffi", "model"),
    ("ffi", "runtime"),
];

/// Arrows that only tests and benches may draw: parity with the decoder, scripted LLMs, and
/// an LLM behind our own server.
const TEST_ARROWS: &[(&str, &str)] = &[
    ("train", "model"),
    ("runtime", "llm"),
    ("runtime", "server"),
    ("label", "llm"),
    ("sweep", "llm"),
];

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
    let metadata = cargo(&["metadata", "--no-deps", "--format-version", "1"]);
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let list = |value: &Value| value.as_array().expect("an array").clone();
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let folder = |name: &str| name.trim_start_matches("tokenroute-").to_owned();
    for package in list(&metadata["packages"]) {
        let from = folder(&text(&package["name"]));
        for dependency in list(&package["dependencies"]) {
            let name = text(&dependency["name"]);
            if !name.starts_with("tokenroute") {
                continue;
            }
            let to = folder(&name);
            let arrow = (from.as_str(), to.as_str());
            let allowed = to == "core"
                || from == "tokenroute"
                || ARROWS.contains(&arrow)
                || (dependency["kind"] == "dev" && TEST_ARROWS.contains(&arrow));
            assert!(allowed, "{from} -> {to} is not an arrow of crates/README.md");
        }
    }
}

#[test]
fn an_edge_only_build_pulls_no_heavy_stage_and_the_library_no_clap() {
    for (features, refused) in
        [("", &["burn", "polars", "axum", "clap"][..]), ("cli", &["burn", "polars", "axum"])]
    {
        let tree = packages(&["--no-default-features", "--features", features]);
        assert!(tree.contains("tokenizers"), "cargo tree printed no tree: {tree:?}");
        for name in tree {
            let heavy = refused.iter().any(|refused| name.starts_with(refused));
            assert!(!heavy, "a build with the features {features:?} pulls {name}");
        }
    }
}

/// Crates that once took minutes of a first build and are not needed. A feature of
/// another dependency may bring them back unnoticed.
const DENIED: &[&str] = &[
    "polars-expr",
    "polars-lazy",
    "polars-mem-engine",
    "polars-ops",
    "polars-plan",
    "polars-sql",
    "polars-stream",
    "polars-time",
    "object_store",
    "burn-wgpu",
    "burn-cubecl",
    "burn-dataset",
    "burn-ndarray",
    "cubecl",
    "wgpu",
    "candle-transformers",
    "tokenroute-bundled-pair",
];

#[test]
fn a_first_build_stays_short() {
    let tree = packages(&[]);
    assert!(tree.contains("polars-core"), "cargo tree printed no tree: {tree:?}");
    for name in DENIED {
        assert!(
            !tree.contains(*name),
            "the default build pulls {name} again: `cargo tree -i {name}`"
        );
    }
}

/// Names of the packages that the `tokenroute` program is built from.
fn packages(options: &[&str]) -> BTreeSet<String> {
    let tree = ["tree", "--locked", "-p", "tokenroute", "-e", "normal,build", "--prefix", "none"];
    let tree = cargo(&[&tree, options].concat());
    tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

/// What cargo prints.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(arguments)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
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
        for part in ["src", "tests", "benches", "examples"] {
            let folder = home.join(part);
            if folder.is_dir() {
                visit(&folder);
            }
        }
    }
}
