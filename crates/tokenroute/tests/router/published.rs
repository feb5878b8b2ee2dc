//! Heads of CITER and R2R from PyTorch state dicts: PyTorch's numbers, a routed answer, and files
//! that are refused.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;
use tokenroute_core::ModelInfo;
use tokenroute_model::RouterScorer;
use tokenroute_store::{PublishedHead, Publisher, StoreError, TokenEmbedding};

use super::fixture;
use super::generate;
use super::support::{complain, fail, model, succeed};

/// The state dict of a fixture.
fn read(name: &str, publisher: Publisher) -> Result<PublishedHead, StoreError> {
    PublishedHead::read(&fixture(name), publisher, || panic!("the file has embeddings"))
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number")).collect()
}

#[test]
fn imported_heads_give_what_pytorch_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = std::fs::read(fixture("heads.json")).expect("PyTorch's numbers");
    let recorded: Value = serde_json::from_slice(&bytes).expect("JSON");
    let info = ModelInfo {
        name: "slm".into(),
        weights_hash: "hash".into(),
        hidden: 8,
        vocabulary: 12,
        context: 64,
        top_k: 8,
    };
    for (name, publisher) in
        [("citer", Publisher::Citer), ("r2r", Publisher::R2r), ("r2r-normalised", Publisher::R2r)]
    {
        let head = read(&format!("{name}.safetensors"), publisher).expect("a published head");
        let path = folder.path().join(name);
        head.router(&info, "tokenizer").write(&path).expect("a router file");
        let scorer = RouterScorer::open(&path).expect("a router");
        let spec = &scorer.header().features;
        let (logits, kept) =
            (numbers(&recorded[name]["logit"]), numbers(&recorded[name]["probability"]));
        for (i, (logit, probability)) in logits.iter().zip(kept).enumerate() {
            let mut row = numbers(&recorded["hidden"][i]);
            if spec.token {
                row.push(recorded["token"][i].as_f64().expect("an id"));
                row.extend(numbers(&recorded["logits"][i]));
            }
            let row: Vec<f32> = row.into_iter().map(|x| x as f32).collect();
            let ours = f64::from(scorer.logit(&row));
            assert!((ours - logit).abs() < 1e-5, "{name}, row {i}: {ours} against {logit}");
            // CITER's probability is that of keeping, R2R's that of offloading.
            let keep = if publisher == Publisher::Citer { probability } else { 1.0 - probability };
            let score = scorer.score_features(&row).expect("a number").get();
            assert!((score - keep).abs() < 1e-5, "{name}, row {i}: {score} against {keep}");
        }
        let spread = logits.iter().fold([f64::MAX, f64::MIN], |s, &x| [s[0].min(x), s[1].max(x)]);
        assert!(spread[1] - spread[0] > 0.5, "{name}: the logits hardly differ: {spread:?}");
    }
}

/// Names and shapes of tensors.
pub type Shapes = Vec<(String, Vec<usize>)>;

/// Writes tensors `[rows, columns]` or `[rows]`, all of small numbers.
pub fn write(path: &Path, tensors: &[(&str, &[usize])]) {
    let mut seed = 5u32;
    let mut number = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f32::from((seed >> 16) as u16) / 65536.0 - 0.4) * 0.4
    };
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(name, shape)| {
            let one = name.ends_with("running_var");
            let count = shape.iter().product::<usize>();
            (0..count).flat_map(|_| if one { 1.0 } else { number() }.to_le_bytes()).collect()
        })
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).expect("a tensor"))
    });
    std::fs::write(path, safetensors::serialize(views, None).expect("bytes")).expect("a file");
}

/// Width of the bundled SLM's hidden state.
pub fn hidden() -> usize {
    let path = format!("{}/config.json", model("word-problems-slm"));
    let config = std::fs::read(path).expect("a configuration");
    let config: Value = serde_json::from_slice(&config).expect("JSON");
    config["hidden_size"].as_u64().expect("a width") as usize
}

/// R2R's head for the bundled SLM, without its embeddings, as R2R saves it.
pub fn r2r(hidden: usize) -> Shapes {
    let mut found = Vec::new();
    let mut linear = |name: &str, outputs: usize, inputs: usize| {
        found.push((format!("{name}.weight"), vec![outputs, inputs]));
        found.push((format!("{name}.bias"), vec![outputs]));
    };
    linear("logits_projection", hidden, 20);
    linear("combined_projection", 16, 3 * hidden);
    linear("backbone.input_projection", 16, 16);
    for i in 0..2 {
        linear(&format!("backbone.blocks.{i}.mlp.0"), 64, 16);
        linear(&format!("backbone.blocks.{i}.mlp.3"), 16, 64);
    }
    linear("backbone.output_layer.1", 1, 16);
    for norm in
        ["backbone.blocks.0.layer_norm", "backbone.blocks.1.layer_norm", "backbone.output_layer.0"]
    {
        found.push((format!("{norm}.weight"), vec![16]));
        found.push((format!("{norm}.bias"), vec![16]));
    }
    found
}

pub fn as_slices(tensors: &[(String, Vec<usize>)]) -> Vec<(&str, &[usize])> {
    tensors.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect()
}

#[test]
fn an_imported_r2r_head_routes_the_bundled_pair() {
    let folder = tempfile::tempdir().expect("a folder");
    let slm = model("word-problems-slm");
    let hidden = hidden();
    let paths = ["r2r.safetensors", "router.safetensors"];
    let [state, router] = paths.map(|name| folder.path().join(name).display().to_string());
    let tensors = r2r(hidden);
    write(state.as_ref(), &as_slices(&tensors));
    let import = |from: &str| {
        ["router", "import", "--from", from, &state, "--slm", &slm, "--out", &router]
            .map(str::to_owned)
    };
    let ask =
        |arguments: &[String]| succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let printed = ask(&import("r2r"));
    assert!(printed.contains(&format!("{} features", hidden + 1 + 20)), "{printed}");
    let answer = |tau: &str| {
        let more = ["--tau", tau, "--max-tokens", "24", "--json"];
        let output = generate(&router, &more).output().expect("a process");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let counts = ["0", "0.5", "1"].map(|tau| {
        let trace: Value = serde_json::from_str(&answer(tau)).expect("JSON");
        trace["offload"].as_f64().expect("a ratio")
    });
    assert!(counts[0] == 0.0 && counts[2] == 1.0, "{counts:?}");
    let uncalibrated = generate(&router, &["--offload", "0.1"]).output().expect("a process");
    complain(&uncalibrated, &["calibration"]);

    let refuse = |from: &str, change: &dyn Fn(&mut Shapes), parts: &[&str]| {
        let mut tensors = r2r(hidden);
        change(&mut tensors);
        write(state.as_ref(), &as_slices(&tensors));
        let arguments = import(from);
        fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    };
    refuse(
        "r2r",
        &|t| t.retain(|(n, _)| n != "backbone.blocks.1.mlp.3.bias"),
        &[
            "r2r.safetensors is not a usable PyTorch state dict",
            "no tensor backbone.blocks.1.mlp.3.bias",
        ],
    );
    refuse("r2r", &|t| t[2].1[1] += 1, &["combined_projection.weight reads", "expected"]);
    refuse("r2r", &|t| t.push(("extra.weight".to_owned(), vec![2])), &["extra.weight is unknown"]);
    refuse("citer", &|_| {}, &["no tensor mlp.0.weight"]);
    refuse("co-llm", &|_| {}, &["\"co-llm\"", "citer or r2r"]);
    refuse("r2r", &|t| *t = r2r(hidden + 1), &["combined_projection.weight reads"]);
    let citer = [
        ("mlp.0.weight", vec![6, hidden + 3]),
        ("mlp.0.bias", vec![6]),
        ("linear.weight", vec![1, 6]),
        ("linear.bias", vec![1]),
    ]
    .map(|(name, shape)| (name.to_owned(), shape));
    let read = format!("reads a hidden state of {} numbers", hidden + 3);
    refuse("citer", &|t| *t = citer.to_vec(), &[&read, "the small model that the head was"]);
    std::fs::write(&state, "pickled").expect("a file");
    let arguments = import("r2r");
    fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &["save_file"]);
}

#[test]
fn embeddings_of_another_width_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let bytes = std::fs::read(fixture("r2r.safetensors")).expect("a fixture");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let left = tensors.iter().filter(|(name, _)| *name != "token_embeddings.weight");
    let path = folder.path().join("without.safetensors");
    std::fs::write(&path, safetensors::serialize(left, None).expect("bytes")).expect("a file");
    let with = |width| {
        let embedding = || Ok::<_, StoreError>(TokenEmbedding { width, values: vec![0.5; 60] });
        PublishedHead::read(&path, Publisher::R2r, embedding)
    };
    assert_eq!(with(6).expect("its width").features.top_logits, 5);
    let error = with(5).expect_err("a narrow table").to_string();
    assert!(error.contains("reads 22 numbers; expected 21") && error.contains("embedding 5"));
}
