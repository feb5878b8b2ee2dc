//! Every name of a model gives the same model: a folder, a GGUF file, an `hf:` reference in the
//! cache, and quantised weights, fresh and cached.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use safetensors::SafeTensors;
use serde_json::Value;
use support::{Lab, fail, root, tokenroute, write_router};
use tempfile::TempDir;
use tokenroute_model::gguf::{Kind, NewTensor, export};
use tokenroute_model::{Device, KvType, least_memory};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The bundled SLM.
fn folder() -> PathBuf {
    root().join("models/word-problems-slm")
}

/// Writes the bundled SLM as a GGUF file with its f16 weights.
fn write_gguf(path: &Path) {
    let json = |name: &str| -> Value {
        let text = std::fs::read(folder().join(name)).expect(name);
        serde_json::from_slice(&text).expect(name)
    };
    let bytes = std::fs::read(folder().join("model.safetensors")).expect("weights");
    let weights = SafeTensors::deserialize(&bytes).expect("weights");
    let tensors = weights.tensors();
    type Fill<'a> = Box<dyn Fn(usize, &mut [f32]) + 'a>;
    let fills: Vec<Fill<'_>> = tensors
        .iter()
        .map(|(_, tensor)| {
            let data = tensor.data();
            Box::new(move |row: usize, out: &mut [f32]| {
                Kind::F16.dequantise(&data[2 * row * out.len()..], out);
            }) as Fill<'_>
        })
        .collect();
    let sources: Vec<NewTensor<'_>> = tensors
        .iter()
        .zip(&fills)
        .map(|((name, tensor), fill)| NewTensor { name, shape: tensor.shape(), row: fill })
        .collect();
    let mut out = Vec::new();
    export(&mut out, &json("config.json"), &json("tokenizer.json"), Kind::F16, &[], &sources)
        .expect("a GGUF file");
    std::fs::write(path, out).expect("a writable folder");
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_folder_a_file_and_a_reference_say_the_same() {
    let hub = TempDir::new().expect("a temporary folder");
    let repository = hub.path().join("models--owner--name");
    let snapshot = repository.join("snapshots").join(COMMIT);
    for folder in [&snapshot, &repository.join("refs")] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    std::fs::write(repository.join("refs/main"), COMMIT).expect("a file");
    let file = snapshot.join("slm.gguf");
    write_gguf(&file);
    let says = |command: &[&str], model: &str| {
        let mut command = tokenroute(command);
        command.args(["--model", model, "--text", "Mia has 3 apples.", "--json"]);
        output(command.env("HF_HUB_CACHE", hub.path()).env("HF_HUB_OFFLINE", "1"))
    };
    for command in [&["step", "--logits"][..], &["generate", "--max-tokens", "24"]] {
        let expected = says(command, &shown(&folder()));
        assert_eq!(says(command, &shown(&file)), expected);
        assert_eq!(says(command, "hf:owner/name:slm.gguf"), expected);
    }
}

#[test]
fn the_least_memory_of_a_gguf_file_is_what_its_device_holds() {
    let lab = TempDir::new().expect("a temporary folder");
    let file = lab.path().join("slm.gguf");
    write_gguf(&file);
    let least = |path: &Path, device, positions| {
        least_memory(path, None, KvType::F32, device, positions).expect("a model")
    };
    let floats = least(&folder(), Device::Kernels, 0);
    assert_eq!(least(&file, Device::Cpu, 0), floats);
    let halves = least(&file, Device::Kernels, 0);
    assert!((0.45..0.6).contains(&(halves as f64 / floats as f64)), "{halves} of {floats}");
    let states = |device| least(&file, device, 100) - least(&file, device, 0);
    assert_eq!(states(Device::Cpu), states(Device::Kernels));
}

#[test]
fn a_step_prints_the_positions_from_one_on() {
    let model = shown(&folder());
    let says = |from: &str| -> Vec<Value> {
        let all = ["step", "--model", &model, "--ids", "5,9,11,4", "--json", "--from", from];
        serde_json::from_str(&output(&mut tokenroute(&all))).expect("JSON")
    };
    let whole = says("0");
    assert_eq!(whole.len(), 4);
    assert_eq!(says("2"), whole[2..]);
    fail(
        &["step", "--model", &model, "--ids", "5,9,11,4", "--from", "4"],
        &["--from is 4", "less than the input's 4 tokens"],
    );
}

#[test]
fn quantised_weights_are_made_once_and_kept() {
    let cache = TempDir::new().expect("a temporary folder");
    let model = shown(&folder());
    let says = |quantize: &[&str], cache: &str| {
        let mut command = tokenroute(&["step", "--model", &model, "--ids", "5,9,11", "--logits"]);
        output(command.arg("--json").args(quantize).env("TOKENROUTE_CACHE", cache))
    };
    // The folder also remembers hashes of model files.
    let kept = || {
        let entries = std::fs::read_dir(cache.path()).expect("the folder");
        entries.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "gguf")).count()
    };
    let place = shown(cache.path());
    let plain = says(&[], &place);
    assert_eq!(kept(), 0);
    let quantize = ["--quantize", "q8_0"];
    let unkept = says(&quantize, "");
    assert_ne!(unkept, plain);
    for _ in 0..2 {
        assert_eq!(says(&quantize, &place), unkept);
        assert_eq!(kept(), 1);
    }
}

#[test]
fn an_experiment_says_how_its_models_are_quantised() {
    let lab = Lab::new(4, 4, 4);
    let file = "experiments/e/experiment.toml";
    write_gguf(&lab.path("models/slm.gguf"));
    lab.replace(
        file,
        "slm = \"../../models/word-problems-slm\"",
        "slm = \"../../models/slm.gguf\"",
    );
    lab.replace(file, "[data]", "slm_quantize = \"q8_0\"\nllm_quantize = \"q4_k\"\n\n[data]");
    let mut command = tokenroute(&["label", &lab.experiment(), "--estimate"]);
    output(command.env("TOKENROUTE_CACHE", lab.path("cache")));
    let kept: Vec<String> = std::fs::read_dir(lab.path("cache"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.ends_with(".gguf"))
        .collect();
    assert!(matches!(&kept[..], [name] if name.ends_with("-q4_k.gguf")), "{kept:?}");
}

#[test]
fn formats_that_do_not_exist_are_refused_with_those_that_do() {
    let model = shown(&folder());
    let known = ["q3_k", "q8_0, q4_0, q4_k"];
    fail(&["step", "--model", &model, "--ids", "1", "--quantize", "q3_k"], &known);
    let lab = Lab::new(4, 4, 4);
    lab.replace("experiments/e/experiment.toml", "[data]", "slm_quantize = \"q3_k\"\n\n[data]");
    fail(&["run", &lab.experiment()], &["experiment.toml", known[0], known[1]]);
}

#[test]
fn kv_types_that_do_not_exist_are_refused_with_those_that_do() {
    let model = shown(&folder());
    let known = ["\"f8\"", "f32, f16, q8_0"];
    for command in [&["generate", "--ids", "1", "--model"][..], &["bench", "--model"]] {
        fail(&[command, &[&model, "--kv", "f8"]].concat(), &known);
    }
    let lab = Lab::new(4, 4, 4);
    lab.replace("experiments/e/experiment.toml", "[data]", "kv = \"f8\"\n\n[data]");
    fail(&["run", &lab.experiment()], &["experiment.toml", known[0], known[1]]);
}

#[test]
fn a_router_of_another_kv_type_is_refused_before_the_model_is_loaded() {
    let lab = Lab::new(4, 4, 4);
    let router = lab.path("router.safetensors");
    write_router(&router);
    let slm = shown(&lab.path("models/word-problems-slm"));
    // Weights that cannot be loaded are not reached.
    lab.write("models/word-problems-slm/model.safetensors", "nothing");
    let routing = ["--llm", &slm, "--router", &shown(&router), "--tau", "0.5"];
    let generate = ["generate", "--ids", "1", "--slm", &slm, "--kv", "f16"];
    fail(
        &[&generate[..], &routing[..]].concat(),
        &["router.safetensors", "KV cache in f32", "f16"],
    );
}

#[test]
fn a_gguf_file_that_is_none_is_named() {
    let lab = Lab::new(4, 4, 4);
    lab.write("models/slm.gguf", "not a model");
    let path = shown(&lab.path("models/slm.gguf"));
    fail(&["generate", "--model", &path, "--ids", "1"], &["slm.gguf", "magic number"]);
}
