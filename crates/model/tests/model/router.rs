//! Router files: scores compared with candle's, and files that are refused.

use std::collections::HashMap;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_nn::rnn::{GRUConfig, RNN};
use safetensors::Dtype;
use serde_json::{Value, json};
use tokenroute_core::{
    Activation, Architecture, FeatureSpec, Features, ModelInfo, Normalisation, Operator,
    OperatorPart, Platt, Position, RouterHeader, Scorer, Step, TrainingRecord,
};
use tokenroute_model::{LoadError, RouterScorer};

use crate::support::{Noise, Tensors, write_tensors};

struct RouterFile {
    header: Value,
    tensors: Tensors,
}

impl RouterFile {
    fn new(architecture: Architecture) -> Self {
        let features = FeatureSpec { hidden: 20, top_k: 3, ..FeatureSpec::default() };
        let mut noise = Noise(5);
        let mut values = |n: usize| (0..n).map(|_| noise.next()).collect::<Vec<f32>>();
        let mut tensors = Tensors::new();
        for (i, shape) in architecture.weights(features.width()).into_iter().enumerate() {
            let (count, bias) = (shape.weights(), shape.bias);
            tensors.insert(format!("layers.{i}.weight"), (shape.weight, values(count)));
            if bias > 0 {
                tensors.insert(format!("layers.{i}.bias"), (vec![bias], values(bias)));
            }
        }
        let header = RouterHeader {
            format: RouterHeader::FORMAT,
            architecture,
            normalisation: Normalisation { mean: values(25), scale: values(25) },
            features,
            platt: Platt { scale: 0.7, bias: -0.2 },
            full_precision: false,
            slm_hash: "slm-hash".into(),
            llm_hash: "llm-hash".into(),
            tokenizer_hash: "tokenizer-hash".into(),
            labels_hash: String::new(),
            calibration: vec![],
            training: TrainingRecord::default(),
        };
        RouterFile { header: serde_json::to_value(header).expect("JSON"), tensors }
    }

    fn open(&self) -> Result<RouterScorer, LoadError> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("router.safetensors");
        let metadata =
            HashMap::from([(RouterHeader::METADATA_KEY.to_owned(), self.header.to_string())]);
        write_tensors(&path, &self.tensors, Dtype::F32, Some(metadata));
        RouterScorer::open(&path)
    }

    /// The logit as candle computes it.
    fn reference(&self, x: &[f32], activation: Activation) -> f32 {
        let header: RouterHeader =
            serde_json::from_value(self.header.clone()).expect("a sound header");
        let device = Device::Cpu;
        let n = &header.normalisation;
        let x: Vec<f32> = (0..x.len()).map(|i| (x[i] - n.mean[i]) * n.scale[i]).collect();
        let mut x = Tensor::from_slice(&x, (1, x.len()), &device).expect("a row");
        let layers = self.tensors.len() / 2;
        for i in 0..layers {
            let get = |name: &str| {
                let (shape, values) = &self.tensors[&format!("layers.{i}.{name}")];
                Tensor::from_slice(values, shape.as_slice(), &device).expect("a tensor")
            };
            let layer = candle_nn::Linear::new(get("weight"), Some(get("bias")));
            x = candle_core::Module::forward(&layer, &x).expect("a layer");
            if i + 1 < layers {
                x = match activation {
                    Activation::Relu => x.relu(),
                    Activation::Gelu => x.gelu_erf(),
                    Activation::Silu => candle_nn::ops::silu(&x),
                }
                .expect("an activation");
            }
        }
        let rewards: Vec<f32> = x.squeeze(D::Minus2).expect("one row").to_vec1().expect("numbers");
        if rewards.len() == 2 { rewards[0] - rewards[1] } else { rewards[0] }
    }
}

fn mlp(activation: Activation, rewards: usize) -> Architecture {
    Architecture::Mlp { widths: vec![33, 17], activation, rewards }
}

fn step() -> Step {
    let mut noise = Noise(8);
    Step {
        token: 4,
        top: vec![(4, 0.6), (1, 0.3), (2, 0.05)],
        top_logits: vec![2.0, 1.5, -0.5],
        entropy: 0.9,
        rest: 0.4,
        hidden: (0..20).map(|_| noise.next()).collect(),
        logits: None,
    }
}

/// The position of a step that begins an answer.
fn at(step: &Step) -> Position<'_> {
    Position {
        question: "q",
        index: 0,
        previous: 0,
        step,
        sentence_entropy: 0.0,
        paragraph_entropy: 0.0,
        lowest: 1.0,
        state: None,
        llm: None,
    }
}

#[test]
fn scores_match_candle() {
    let step = step();
    let spec = FeatureSpec { hidden: 20, top_k: 3, ..FeatureSpec::default() };
    let x = Features::of(&spec, &step).0;
    let check = |architecture: Architecture, activation| {
        let file = RouterFile::new(architecture);
        let router = file.open().expect("a sound router");
        let (ours, theirs) = (router.logit(&x), file.reference(&x, activation));
        assert!((ours - theirs).abs() < 1e-5 * theirs.abs().max(1.0), "{ours} against {theirs}");
        let score = router.score(&at(&step)).expect("a number");
        assert_eq!(score, Platt { scale: 0.7, bias: -0.2 }.score(ours).expect("a number"));
    };
    for activation in [Activation::Relu, Activation::Gelu, Activation::Silu] {
        check(mlp(activation, 1), activation);
        check(mlp(activation, 2), activation);
    }
    check(Architecture::Linear { rewards: 1 }, Activation::Relu);
    check(Architecture::Linear { rewards: 2 }, Activation::Relu);
}

#[test]
fn a_recurrent_head_is_that_of_candle() {
    let (inputs, width) = (25, 6);
    let operators =
        vec![Operator::Gru { inputs, width }, Operator::Linear { inputs: width, outputs: 1 }];
    let file = RouterFile::new(Architecture::Operators { name: "gru".into(), operators });
    let router = file.open().expect("a sound router");

    let device = Device::Cpu;
    let tensor = |name: &str| {
        let (shape, values) = &file.tensors[name];
        Tensor::from_slice(values, shape.as_slice(), &device).expect("a tensor")
    };
    let named = [
        ("weight_ih_l0", "layers.0.weight"),
        ("bias_ih_l0", "layers.0.bias"),
        ("weight_hh_l0", "layers.1.weight"),
        ("bias_hh_l0", "layers.1.bias"),
    ]
    .map(|(theirs, ours)| (theirs.to_owned(), tensor(ours)));
    let weights = VarBuilder::from_tensors(HashMap::from(named), DType::F32, &device);
    let unit = candle_nn::rnn::gru(inputs, width, GRUConfig::default(), weights).expect("a unit");
    let last = candle_nn::Linear::new(tensor("layers.2.weight"), Some(tensor("layers.2.bias")));
    let mut theirs = unit.zero_state(1).expect("zeros");

    let mut state = None;
    let mut scores = Vec::new();
    for index in 0..5 {
        let step =
            Step { hidden: (0..20).map(|i| ((i * 7 + index) as f32).sin()).collect(), ..step() };
        let x = Features::of(&router.header().features, &step).0;
        let normalisation = &router.header().normalisation;
        let of = |i: usize| (x[i] - normalisation.mean[i]) * normalisation.scale[i];
        let normalised: Vec<f32> = (0..inputs).map(of).collect();
        let row = Tensor::from_slice(&normalised, (1, inputs), &device).expect("a row");
        theirs = unit.step(&row, &theirs).expect("a step");
        let logit = candle_core::Module::forward(&last, theirs.h()).expect("a layer");
        let logit = logit.flatten_all().expect("one").to_vec1::<f32>().expect("a number")[0];

        let position = Position { index, state: state.as_ref(), ..at(&step) };
        let scored = router.scored(&position).expect("a number");
        let expected = Platt { scale: 0.7, bias: -0.2 }.score(logit).expect("a number").get();
        assert!((scored.score.get() - expected).abs() < 1e-6, "step {index}");
        // The state of the step before is still what it was.
        assert_eq!(router.score(&position), Ok(scored.score));
        if index == 0 {
            assert!((router.logit(&x) - logit).abs() < 1e-5, "an answer's begin");
        }
        state = scored.state;
        scores.push(scored.score.get());
    }
    assert!(scores.windows(2).all(|pair| pair[0] != pair[1]), "{scores:?}");
}

#[test]
fn a_wrong_width_is_not_scored() {
    let router = RouterFile::new(mlp(Activation::Relu, 1)).open().expect("a sound router");
    assert!(router.logit(&[0.0; 24]).is_nan());
    assert!(router.score_features(&[0.0; 24]).is_err());
}

#[test]
fn spoilt_router_files_are_refused_by_name() {
    let check = |spoil: &dyn Fn(&mut RouterFile), words: &[&str]| {
        let mut file = RouterFile::new(mlp(Activation::Relu, 1));
        spoil(&mut file);
        let message = file.open().expect_err("a spoilt router").to_string();
        for word in words {
            assert!(message.contains(word), "{message:?} does not name {word:?}");
        }
    };
    check(
        &|f| f.header["format"] = json!(3),
        &["router.safetensors", "format 3", "formats 1 to 2"],
    );
    check(&|f| f.header["architecture"]["kind"] = json!("tree"), &["tree"]);
    check(&|f| f.header["architecture"]["rewards"] = json!(3), &["rewards is 3", "1 or 2"]);
    check(&|f| f.header["architecture"]["widths"] = json!([33, 0]), &["widths", "[33, 0]"]);
    let of_nothing =
        json!({"inputs": 0, "operators": [{"op": "linear", "inputs": 0, "outputs": 1}]});
    let parts = json!([{"inputs": 25, "operators": []}, of_nothing]);
    check(
        &|f| {
            let operators = json!([{"op": "parts", "parts": parts}]);
            f.header["architecture"] =
                json!({"kind": "operators", "name": "", "operators": operators});
        },
        &["the part 1: operator 0 reads no numbers"],
    );
    check(&|f| f.header["normalisation"]["mean"] = json!([0.0]), &["mean has 1 ", "expected 25"]);
    for field in ["hidden", "top_k"] {
        check(
            &|f| f.header["features"][field] = json!(u64::MAX),
            &["mean has 25 ", "expected 1844"],
        );
    }
    check(&|f| f.header["platt"]["scale"] = json!(1e39), &["platt.scale"]);
    let mean = |of: &str, steps: usize| json!({ "kind": "mean", "of": of, "steps": steps });
    let asks = |f: &mut RouterFile, hidden: u64, more: Vec<Value>| {
        f.header["features"] =
            json!({ "hidden": 0, "top_k": 0, "hidden_width": hidden, "more": more });
    };
    check(
        &|f| asks(f, 0, vec![mean("hidden", 8)]),
        &["hidden_width is 0", "mean over the last 8 steps"],
    );
    check(
        &|f| {
            asks(f, 21, vec![mean("hidden", 8)]);
            f.header["features"]["hidden"] = json!(20);
        },
        &["hidden_width is 21", "hidden 20"],
    );
    let refused = ["bytes of earlier steps", "expected at most 1048576", "fewer steps"];
    check(&|f| asks(f, u64::MAX, vec![mean("hidden", 256)]), &refused);
    check(&|f| asks(f, 1 << 12, vec![mean("hidden", 66)]), &refused);
    check(&|f| asks(f, 1 << 12, vec![mean("hidden", 64)]), &["mean has 25 ", "expected 4096"]);
    check(&|f| asks(f, 0, vec![mean("entropy", 256); 200]), &refused);
    check(&|f| drop(f.tensors.remove("layers.1.bias")), &["layers.1.bias", "[17]"]);
    check(
        &|f| f.tensors.get_mut("layers.0.weight").expect("a tensor").0 = vec![25, 33],
        &["layers.0.weight", "[25, 33]", "[33, 25]"],
    );
    check(
        &|f| f.tensors.get_mut("layers.2.weight").expect("a tensor").1[3] = f32::NAN,
        &["layers.2.weight", "NaN", "index 3"],
    );
    check(
        &|f| drop(f.tensors.insert("layers.3.bias".to_owned(), (vec![1], vec![0.0]))),
        &["layers.3.bias"],
    );
}

#[test]
fn files_that_are_no_router_are_told_apart() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("router.safetensors");
    let message = RouterScorer::open(&path).expect_err("no file").to_string();
    assert!(message.contains("router.safetensors"), "{message}");
    let file = RouterFile::new(Architecture::Linear { rewards: 1 });
    write_tensors(&path, &file.tensors, Dtype::F32, None);
    let message = RouterScorer::open(&path).expect_err("no header").to_string();
    assert!(message.contains(RouterHeader::METADATA_KEY), "{message}");
}

#[test]
fn a_router_of_another_pair_is_refused_with_both_hashes() {
    let router = RouterFile::new(mlp(Activation::Gelu, 2)).open().expect("a sound router");
    let info = ModelInfo {
        name: "slm".into(),
        weights_hash: "slm-hash".into(),
        hidden: 20,
        vocabulary: 46,
        context: 96,
        top_k: 8,
    };
    router.check(&info, "tokenizer-hash").expect("its own pair");
    let check = |info: &ModelInfo, tokenizer: &str, words: [&str; 2]| {
        let message = router.check(info, tokenizer).expect_err("another pair").to_string();
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
    };
    let other = |change: &dyn Fn(&mut ModelInfo)| {
        let mut info = info.clone();
        change(&mut info);
        info
    };
    check(&other(&|i| i.weights_hash = "new".into()), "tokenizer-hash", ["slm-hash", "new"]);
    check(&info, "unknown", ["tokenizer-hash", "unknown"]);
    check(&other(&|i| i.hidden = 24), "tokenizer-hash", ["20", "24"]);
    check(&other(&|i| i.top_k = 2), "tokenizer-hash", ["3", "2"]);
}

#[test]
fn what_a_router_remembers_of_an_answer_is_counted() {
    let operators =
        vec![Operator::Gru { inputs: 20, width: 5 }, Operator::Linear { inputs: 5, outputs: 1 }];
    let mut file = RouterFile::new(Architecture::Operators { name: "gru".into(), operators });
    file.header["normalisation"] = json!({ "mean": vec![0.0; 20], "scale": vec![1.0; 20] });
    file.header["features"] = json!({
        "hidden": 0, "top_k": 0, "hidden_width": 20,
        "more": [{ "kind": "mean", "of": "hidden", "steps": 8 }],
    });
    let bytes = file.open().expect("a recurrent router").state_bytes();
    // Seven hidden states, and the unit's state.
    let numbers = 4 * (7 * 20 + 5);
    assert!((numbers..2 * numbers).contains(&bytes), "{bytes}");
    let linear = RouterFile::new(Architecture::Linear { rewards: 1 });
    assert_eq!(linear.open().expect("a router").state_bytes(), 0);
}

/// A head of every operator, and its weights by hand: batch norm folded, a residual block.
#[test]
fn operators_run_in_their_order() {
    let relu = Operator::Activation { activation: Activation::Relu };
    let linear = |inputs, outputs| Operator::Linear { inputs, outputs };
    let block = vec![Operator::Affine { width: 2 }, relu, linear(2, 2)];
    let operators =
        vec![linear(25, 2), Operator::Residual { operators: block, skip: vec![] }, linear(2, 1)];
    let mut file = RouterFile::new(Architecture::Operators { name: "a block".into(), operators });
    let mut set = |name: &str, shape: Vec<usize>, values: Vec<f32>| {
        file.tensors.insert(name.to_owned(), (shape, values));
    };
    set("layers.0.weight", vec![2, 25], vec![0.0; 50]);
    set("layers.0.bias", vec![2], vec![1.0, -2.0]);
    set("layers.1.weight", vec![2], vec![3.0, 0.5]);
    set("layers.1.bias", vec![2], vec![-1.0, 0.0]);
    set("layers.2.weight", vec![2, 2], vec![1.0, 10.0, 2.0, 20.0]);
    set("layers.2.bias", vec![2], vec![0.5, 0.25]);
    set("layers.3.weight", vec![1, 2], vec![1.0, 100.0]);
    set("layers.3.bias", vec![1], vec![7.0]);
    // [1, −2] → affine [2, −1] → ReLU [2, 0] → linear [2.5, 4.25] → added to [1, −2].
    let router = file.open().expect("a head of operators");
    assert_eq!(router.logit(&[0.3; 25]), 3.5 + 225.0 + 7.0);
    assert_eq!(router.parameters(), 52 + 4 + 6 + 3);

    let refuse = |operators: Vec<Operator>, cause: &str| {
        let mut file = RouterFile::new(Architecture::Linear { rewards: 1 });
        let architecture = Architecture::Operators { name: String::new(), operators };
        file.header["architecture"] = serde_json::to_value(architecture).expect("JSON");
        let error = file.open().expect_err(cause).to_string();
        assert!(error.contains(cause), "{error}");
    };
    refuse(vec![linear(24, 1)], "expected from 25");
    refuse(vec![linear(25, 3)], "gives 3 numbers; expected 1 or 2");
    refuse(vec![Operator::Affine { width: 25 }], "gives 25 numbers");
    refuse(
        vec![linear(25, 1), Operator::Residual { operators: vec![linear(1, 2)], skip: vec![] }],
        "adds 2 numbers",
    );
    let mut file = RouterFile::new(Architecture::Linear { rewards: 1 });
    file.header["architecture"] =
        json!({ "kind": "operators", "name": "new", "operators": [{ "op": "attention" }] });
    let error = file.open().expect_err("an operator of a later version").to_string();
    assert!(error.contains("`attention`") && error.contains("`layer-norm`"), "{error}");
}

/// A token's row, a layer norm, a softmax and a residual that changes its width, by hand.
#[test]
fn a_token_is_looked_up_and_parts_are_joined() {
    let linear = |inputs, outputs| Operator::Linear { inputs, outputs };
    let part = |inputs, operators| OperatorPart { inputs, operators };
    let operators = vec![
        Operator::Parts {
            parts: vec![
                part(2, vec![Operator::LayerNorm { width: 2 }]),
                part(1, vec![Operator::Embedding { rows: 6, width: 2 }]),
                part(2, vec![Operator::Softmax]),
            ],
        },
        Operator::Residual { operators: vec![linear(6, 1)], skip: vec![linear(6, 1)] },
    ];
    let mut file = RouterFile::new(Architecture::Operators { name: "parts".into(), operators });
    file.header["features"] = json!({ "hidden": 2, "top_k": 0, "token": true, "top_logits": 2 });
    file.header["normalisation"] = json!({ "mean": [0, 0, 0, 0, 0], "scale": [1, 1, 1, 1, 1] });
    let mut set = |name: &str, shape: Vec<usize>, values: Vec<f32>| {
        file.tensors.insert(name.to_owned(), (shape, values));
    };
    set("layers.0.weight", vec![2], vec![2.0, 1.0]);
    set("layers.0.bias", vec![2], vec![0.0, 0.5]);
    set("layers.1.weight", vec![6, 2], (0..12u8).map(f32::from).collect());
    // First the way past the block, then the block.
    set("layers.2.weight", vec![1, 6], vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    set("layers.2.bias", vec![1], vec![0.0]);
    set("layers.3.weight", vec![1, 6], vec![0.0, 1.0, 1.0, 10.0, 100.0, 0.0]);
    set("layers.3.bias", vec![1], vec![0.25]);
    let router = file.open().expect("a head of parts");
    let step = Step { hidden: [3.0, 5.0].into(), top_logits: vec![1.5, 1.5], ..step() };
    let x = Features::of(&router.header().features, &step).0;
    assert_eq!(x, [3.0, 5.0, 4.0, 1.5, 1.5]);
    // Layer norm [−1, 1] → [−2, 1.5]; row 4 is [8, 9]; softmax [.5, .5].
    let expected = -2.0 + (1.5 + 8.0 + 90.0 + 50.0 + 0.25);
    assert!((router.logit(&x) - expected).abs() < 1e-4, "{}", router.logit(&x));
    for no_token in [6.0, -1.0, 0.5, f32::NAN] {
        assert!(router.logit(&[3.0, 5.0, no_token, 1.5, 1.5]).is_nan(), "{no_token}");
    }
    let bare = Step { top_logits: Vec::new(), ..step };
    assert!(Features::of(&router.header().features, &bare).0[3].is_nan());
}
