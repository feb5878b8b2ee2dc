//! A laboratory in a temporary folder: a small experiment over the bundled pair and data set,
//! and the program to run on it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;
use tokenroute_core::{
    Architecture, FeatureSpec, LanguageModel, Normalisation, Platt, RouterHeader, TrainingRecord,
};
use tokenroute_model::{LoadOptions, load_model};

/// A folder with the repository's layout.
pub struct Lab {
    folder: TempDir,
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// Copies the files of a folder into a new one.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("a copy");
    }
}

impl Lab {
    /// Copies models and data set, and writes an experiment with these numbers of
    /// questions.
    pub fn new(train: usize, validation: usize, test: usize) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        for part in ["models/word-problems-slm", "models/word-problems-llm"] {
            copy(&root().join(part), &folder.path().join(part));
        }
        let data = "datasets/word-problems";
        copy(&root().join(data), &folder.path().join(data));
        let lab = Lab { folder };
        lab.write(
            "experiments/e/experiment.toml",
            &format!(
                r#"title = "A small study"
seed = 3

[pair]
slm = "../../models/word-problems-slm"
llm = "../../models/word-problems-llm"

[data]
dataset = "../../datasets/word-problems"
router_train = {train}
validation = {validation}
test = {test}

[label]
questions_per_shard = 10

[train]
epochs = 3

[sweep]
baselines = ["random", "entropy", "lookup-tokens", "handoff", "query-cascade", "handoff-whole", "query-head", "query-agreement", "rollout-oracle"]
resamples = 50
chunk = 4

[report]
folder = "../../reports/e"
examples = 2
"#
            ),
        );
        lab
    }

    /// A path in the laboratory.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    /// The experiment file.
    pub fn experiment(&self) -> String {
        self.path("experiments/e/experiment.toml").display().to_string()
    }

    /// Writes a file.
    pub fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    /// The bytes of a file.
    pub fn bytes(&self, relative: &str) -> Vec<u8> {
        std::fs::read(self.path(relative)).unwrap_or_else(|e| panic!("{relative}: {e}"))
    }

    /// Replaces text in a file that must contain it.
    pub fn replace(&self, relative: &str, from: &str, to: &str) {
        let text = String::from_utf8(self.bytes(relative)).expect("UTF-8");
        assert!(text.contains(from), "{relative} does not contain {from}");
        std::fs::write(self.path(relative), text.replacen(from, to, 1)).expect("a file");
    }
}

/// The path of a bundled model.
pub fn model(name: &str) -> String {
    root().join("models").join(name).display().to_string()
}

/// A linear router for the bundled SLM with arbitrary weights. Its scores lie on both sides of
/// every τ.
pub fn write_router(path: &Path) {
    let slm = load_model(model("word-problems-slm").as_ref(), &LoadOptions::default());
    let slm = slm.expect("the bundled SLM");
    let info = slm.decoder.info();
    let features = FeatureSpec { hidden: info.hidden, top_k: 4, ..FeatureSpec::default() };
    let width = features.width();
    let header = RouterHeader {
        format: RouterHeader::FORMAT,
        architecture: Architecture::Linear { rewards: 1 },
        normalisation: Normalisation { mean: vec![0.0; width], scale: vec![1.0; width] },
        features,
        platt: Platt { scale: 1.0, bias: 0.0 },
        full_precision: false,
        slm_hash: info.weights_hash.clone(),
        llm_hash: String::new(),
        tokenizer_hash: slm.vocabulary.hash().to_owned(),
        labels_hash: String::new(),
        calibration: Vec::new(),
        training: TrainingRecord::default(),
    };
    let weights = (0..width).map(|i| ((i * 37 % 19) as f32 - 9.0) * 0.15);
    let weights: Vec<u8> = weights.flat_map(f32::to_le_bytes).collect();
    let bias = 0f32.to_le_bytes();
    let tensors = [
        ("layers.0.weight", TensorView::new(Dtype::F32, vec![1, width], &weights)),
        ("layers.0.bias", TensorView::new(Dtype::F32, vec![1], &bias)),
    ];
    let tensors = tensors.map(|(name, view)| (name, view.expect("a tensor")));
    let json = serde_json::to_string(&header).expect("JSON");
    let metadata = HashMap::from([(RouterHeader::METADATA_KEY.to_owned(), json)]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).expect("a router file");
    std::fs::write(path, bytes).expect("a file");
}

/// Another valid tokenizer: two words of the one in the file are swapped.
pub fn swap_two_tokens(path: &Path) {
    let bytes = std::fs::read(path).expect("a tokenizer");
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let vocabulary = &mut tokenizer["model"]["vocab"];
    let (pens, cups) = (vocabulary["Ġpens"].take(), vocabulary["Ġcups"].take());
    (vocabulary["Ġpens"], vocabulary["Ġcups"]) = (cups, pens);
    std::fs::write(path, tokenizer.to_string()).expect("a file");
}

/// Exit code of a script whose packages or programs are missing.
const SKIPPED: i32 = 77;

/// Runs a Python script that must succeed. Returns what it prints, or why it was skipped.
pub fn python(script: &Path, arguments: &[&str]) -> String {
    let python = std::env::var("TOKENROUTE_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    match Command::new(python).arg(script).args(arguments).output() {
        Err(error) => format!("skipped: no Python: {error}"),
        Ok(output) => {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            match output.status.code() {
                Some(0) => said,
                Some(SKIPPED) => format!("skipped: {said}"),
                code => panic!("{} ends with {code:?}: {said}", script.display()),
            }
        }
    }
}

/// The program with arguments.
pub fn tokenroute(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenroute"));
    command.arg("--quiet").args(arguments);
    command
}

/// Runs it and expects success; returns standard output.
pub fn succeed(arguments: &[&str]) -> String {
    let output = tokenroute(arguments).output().expect("a process");
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs it and expects one clear error that contains all these parts.
pub fn fail(arguments: &[&str], parts: &[&str]) {
    let output = tokenroute(arguments).output().expect("a process");
    complain(&output, parts);
}

/// Expects a failure with a one-line error that contains all these parts.
pub fn complain(output: &Output, parts: &[&str]) {
    let error = stderr(output);
    assert!(!output.status.success(), "expected a failure, got success: {error}");
    assert!(!error.contains("panicked"), "{error}");
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A server in a separate process. The end of the test kills it.
pub struct Server {
    pub child: Child,
    pub name: String,
    pub url: String,
}

impl Server {
    /// Starts it and waits for its name and address.
    pub fn start(mut command: Command) -> Server {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("a process");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let (name, url) = line.trim().split_once(" at ").expect("a name and a URL");
        let (name, url) = (name.to_owned(), url.to_owned());
        Server { child, name, url }
    }

    /// Requests a shutdown.
    pub fn terminate(&self) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status();
        assert!(status.expect("kill").success());
    }

    /// Requests a shutdown again. Returns the exit status.
    pub fn insist(mut self) -> Option<i32> {
        self.terminate();
        self.child.wait().expect("an end").code()
    }

    /// Stops it. Returns its warnings and errors.
    pub fn stop(mut self) -> String {
        self.terminate();
        assert!(self.child.wait().expect("an end").success(), "an orderly end");
        let mut text = String::new();
        let mut error = self.child.stderr.take().expect("its complaints");
        error.read_to_string(&mut text).expect("UTF-8");
        text
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
