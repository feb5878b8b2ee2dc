//! Routers of every operator as ONNX models: bytes that onnxruntime was given, and its scores.
//!
//! `onnxruntime.json` has what onnxruntime gave for each router, and the hash of the model that it
//! was given. `UPDATE_ONNX=1` with Python, onnx and onnxruntime writes it again.

use std::path::Path;

use serde_json::{Value, json};
use tokenroute_core::{
    Activation, Architecture, FeatureSpec, Normalisation, Operator, OperatorPart, Platt,
    RouterHeader, TrainingRecord,
};
use tokenroute_model::RouterScorer;
use tokenroute_store::{RouterFile, RouterLayer, sha256};

use super::support::{fail, succeed};
use super::{fixture, python};

const RECORDED: &str = "onnxruntime.json";

/// Numbers that look random, the same on every machine.
struct Noise(u64);

impl Noise {
    /// Between −1 and 1.
    fn next(&mut self) -> f32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn list(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

fn router(architecture: Architecture, features: FeatureSpec) -> RouterFile {
    let mut noise = Noise(11);
    let width = features.width();
    let layers = architecture.weights(width).into_iter().map(|shape| RouterLayer {
        weight: noise.list(shape.weights()),
        bias: noise.list(shape.bias),
    });
    let layers = layers.collect();
    let mut normalisation = Normalisation { mean: noise.list(width), scale: noise.list(width) };
    if features.token {
        // A token's id stays as it is.
        let at = features.hidden + if features.top_k > 0 { features.top_k + 2 } else { 0 };
        (normalisation.mean[at], normalisation.scale[at]) = (0.0, 1.0);
    }
    let header = RouterHeader {
        format: RouterHeader::FORMAT,
        architecture,
        features,
        normalisation,
        platt: Platt { scale: 1.3, bias: -0.4 },
        full_precision: false,
        slm_hash: "slm".into(),
        llm_hash: "llm".into(),
        tokenizer_hash: "tokenizer".into(),
        labels_hash: String::new(),
        calibration: Vec::new(),
        training: TrainingRecord::default(),
    };
    RouterFile { header, layers }
}

/// A router of each kind; the last has every operator.
fn routers() -> Vec<(&'static str, RouterFile)> {
    let plain = || FeatureSpec { hidden: 6, top_k: 3, ..FeatureSpec::default() };
    let mlp = |activation, rewards| Architecture::Mlp { widths: vec![7, 5], activation, rewards };
    let linear = |inputs, outputs| Operator::Linear { inputs, outputs };
    let part = |inputs, operators| OperatorPart { inputs, operators };
    let silu = Operator::Activation { activation: Activation::Silu };
    let operators = vec![
        Operator::Parts {
            parts: vec![
                part(11, vec![Operator::LayerNorm { width: 11 }, linear(11, 4)]),
                part(1, vec![Operator::Embedding { rows: 9, width: 3 }]),
                part(4, vec![Operator::Softmax]),
            ],
        },
        Operator::Residual {
            operators: vec![Operator::Affine { width: 11 }, silu, linear(11, 5)],
            skip: vec![linear(11, 5)],
        },
        Operator::Residual { operators: vec![linear(5, 5)], skip: Vec::new() },
        linear(5, 2),
    ];
    let every = Architecture::Operators { name: "every operator".into(), operators };
    let all = FeatureSpec { token: true, top_logits: 4, ..plain() };
    vec![
        ("linear", router(Architecture::Linear { rewards: 1 }, plain())),
        ("relu", router(mlp(Activation::Relu, 1), plain())),
        ("gelu", router(mlp(Activation::Gelu, 2), plain())),
        ("operators", router(every, all)),
    ]
}

/// Rows of features. A token is one of nine.
fn rows(features: &FeatureSpec, count: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut noise = Noise(seed);
    let row = |_| {
        let mut row: Vec<f32> = noise.list(features.width()).iter().map(|x| 4.0 * x).collect();
        if features.token {
            let at = features.width() - features.top_logits - 1;
            row[at] = ((noise.next() + 1.0) * 4.49).floor();
        }
        row
    };
    (0..count).map(row).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

/// What onnxruntime gives for rows, if it is there.
fn run_onnx(folder: &Path, model: &Path, rows: &[Vec<f32>]) -> Option<Value> {
    let mut command = python("numpy, onnx, onnxruntime")?;
    let input = folder.join("rows.json");
    std::fs::write(&input, serde_json::to_string(rows).expect("JSON")).expect("a file");
    let output = command.arg(fixture("run_onnx.py")).arg(model).arg(input).output();
    let output = output.expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Compares our logits and scores of rows with those of onnxruntime.
fn compare(name: &str, scorer: &RouterScorer, rows: &[Vec<f32>], theirs: &Value) {
    let (logits, scores) = (numbers(&theirs["logit"]), numbers(&theirs["score"]));
    assert_eq!((logits.len(), scores.len()), (rows.len(), rows.len()));
    let mut spread = [f64::INFINITY, f64::NEG_INFINITY];
    for (row, (logit, score)) in rows.iter().zip(logits.iter().zip(scores)) {
        let ours = f64::from(scorer.logit(row));
        assert!((ours - logit).abs() < 1e-5 * logit.abs().max(1.0), "{name}: {ours}, {logit}");
        let ours = scorer.score_features(row).expect("a number").get();
        assert!((ours - score).abs() < 1e-5, "{name}: {ours}, {score}");
        spread = [spread[0].min(ours), spread[1].max(ours)];
    }
    assert!(spread[1] - spread[0] > 0.15, "{name}: the scores hardly differ: {spread:?}");
}

#[test]
fn a_head_that_keeps_a_state_is_refused_by_name() {
    let features = FeatureSpec { hidden: 6, ..FeatureSpec::default() };
    let operators =
        vec![Operator::Gru { inputs: 6, width: 3 }, Operator::Linear { inputs: 3, outputs: 1 }];
    let gru = Architecture::Operators { name: "gru".into(), operators };
    let error = router(gru, features).to_onnx().expect_err("a state").to_string();
    assert!(error.contains("the operator `gru`, which keeps a state"), "{error}");
    assert!(!error.contains('\n'), "one line: {error}");
}

#[test]
fn onnxruntime_gives_our_scores() {
    let folder = tempfile::tempdir().expect("a folder");
    let update = std::env::var_os("UPDATE_ONNX").is_some();
    let mut recorded = json!({});
    if !update {
        let bytes = std::fs::read(fixture(RECORDED)).expect("what onnxruntime gave");
        recorded = serde_json::from_slice(&bytes).expect("JSON");
    }
    for (name, file) in routers() {
        let (router, model) = (folder.path().join(name), folder.path().join("router.onnx"));
        file.write(&router).expect("a router file");
        let [from, to] = [&router, &model].map(|path| path.display().to_string());
        let printed = succeed(&["router", "export", "--router", &from, "--onnx", &to]);
        let width = file.header.features.width();
        assert!(printed.contains(&format!("[rows, {width}]")) && printed.contains("0..6: hidden"));
        let scorer = RouterScorer::open(&router).expect("a router");
        let hash = sha256(&std::fs::read(&model).expect("a model"));
        let known = rows(&file.header.features, 24, 3);
        if update {
            recorded[name] = run_onnx(folder.path(), &model, &known).expect("onnxruntime");
            recorded[name]["sha256"] = hash.clone().into();
        }
        assert_eq!(recorded[name]["sha256"], hash, "{name}: onnxruntime has not run this model");
        compare(name, &scorer, &known, &recorded[name]);
        let others = rows(&file.header.features, 500, 8);
        if let Some(theirs) = run_onnx(folder.path(), &model, &others) {
            compare(name, &scorer, &others, &theirs);
        }
    }
    if update {
        let text = serde_json::to_string(&recorded).expect("JSON");
        std::fs::write(fixture(RECORDED), text + "\n").expect("a file");
    }
}

#[test]
fn what_is_no_router_is_not_exported() {
    let folder = tempfile::tempdir().expect("a folder");
    let (router, model) = (folder.path().join("r.safetensors"), folder.path().join("r.onnx"));
    std::fs::write(&router, "no safetensors").expect("a file");
    let [from, to] = [&router, &model].map(|path| path.display().to_string());
    let export = ["router", "export", "--router", &from, "--onnx", &to];
    fail(&export, &["r.safetensors is not a usable router file"]);
    std::fs::remove_file(&router).expect("a file");
    fail(&export, &["r.safetensors"]);
    assert!(!model.exists());
}
