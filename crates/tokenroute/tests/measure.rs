//! `bench`, `random-model` and `export`: written files can be read, and output has its shape.

mod support;

use serde_json::Value;
use support::{fail, root, succeed, write_router};
use tempfile::TempDir;

fn bundled(part: &str) -> String {
    root().join("models").join(part).display().to_string()
}

/// A random model in the bundled LLM's shape, of two layers.
fn random_model(folder: &TempDir) -> String {
    let out = folder.path().join("random").display().to_string();
    let (config, tokenizer) =
        (bundled("word-problems-llm/config.json"), bundled("word-problems-llm/tokenizer.json"));
    let like = ["--config", &config, "--tokenizer", &tokenizer, "--layers", "2"];
    succeed(&[&["random-model", "--out", &out, "--seed", "7"], &like[..]].concat());
    out
}

fn tokens(model: &str) -> Value {
    let ids = "5,6,7,8,9";
    let out =
        succeed(&["generate", "--model", model, "--ids", ids, "--max-tokens", "24", "--json"]);
    let answer: Value = serde_json::from_str(&out).expect("JSON");
    answer["tokens"].clone()
}

#[test]
fn bench_prints_rates_bytes_and_memory() {
    let slm = bundled("word-problems-slm");
    let small = ["--prefill", "32", "--decode", "4", "--sequences", "3", "--repeat", "2"];
    let quantised = [&["bench", "--model", &slm, "--quantize", "q8_0"], &small[..]].concat();
    let out = succeed(&[&quantised[..], &["--threads", "1", "--json"]].concat());
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((&report["quantize"], &report["threads"]), (&"q8_0".into(), &1.into()));
    assert!(report["isa"].is_string() && report["routing"].is_null());
    assert_eq!(report["kv"], "f32");
    let halved = succeed(&[&quantised[..], &["--kv", "f16", "--json"]].concat());
    let halved: Value = serde_json::from_str(&halved).expect("JSON");
    let bytes = |report: &Value| report["kv_bytes_per_position"].as_u64().expect("bytes");
    assert_eq!((halved["kv"].as_str(), bytes(&report)), (Some("f16"), 2 * bytes(&halved)));
    // Two layers and a head of 1338 tokens, 34 bytes for 32 weights of 48 in two blocks.
    let weights = report["bytes_per_token"].as_u64().expect("bytes");
    assert!((1338 * 68..4 * 1338 * 68).contains(&weights), "{weights}");
    assert!(report["read_bandwidth"].as_f64().expect("bytes a second") > 1e8);
    let registers = ["avx2", "avxvnni", "avx512"].map(Value::from).contains(&report["isa"]);
    let limit = report["product_limit"].as_f64();
    assert!(limit.map_or(!registers, |operations| registers && operations > 1e8));
    if cfg!(target_os = "linux") {
        let memory = |key: &str| report["memory"][key].as_u64().expect(key);
        assert!(memory("peak_rss") >= memory("rss"));
        assert!(memory("peak_rss") >= memory("loading_peak_rss"));
        assert!(memory("rss_anon") > 0 && memory("rss_file") > 0);
        assert!(memory("peak_rss") >= memory("loading_rss_anon"));
        assert!(memory("loading_rss_anon") > 0);
    }
    let cases: Vec<_> = report["cases"].as_array().expect("cases").iter().collect();
    let names: Vec<_> = cases.iter().map(|c| c["case"].as_str().expect("a name")).collect();
    assert_eq!(names, ["decode", "sequences", "prefill"]);
    for case in &cases {
        let rate = |key: &str| case["tokens_per_second"][key].as_f64().expect(key);
        assert!(0.0 < rate("least") && rate("least") <= rate("median"));
        assert!(rate("median") <= rate("most"));
        assert_eq!(case["of_bandwidth"].is_null(), case["case"] == "prefill");
        let bounded = registers && case["case"] != "decode";
        assert_eq!(case["of_product_limit"].is_number(), bounded);
    }
    let text = succeed(&quantised);
    for part in ["q8_0", "KV cache in f32", "of bandwidth", "decode", "sequences", "prefill"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

/// The pages of a file are given back while its weights are packed.
#[cfg(target_os = "linux")]
#[test]
fn loading_holds_little_more_than_the_packed_weights() {
    let folder = TempDir::new().expect("a folder");
    let small = random_model(&folder);
    let text = std::fs::read_to_string(bundled("word-problems-llm/config.json")).expect("a file");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    for (key, value) in [("hidden_size", 512), ("intermediate_size", 4096)] {
        config[key] = value.into();
    }
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("config.json"), config.to_string()).expect("a config");
    let tokenizer = bundled("word-problems-llm/tokenizer.json");
    let like = ["--config", &at("config.json"), "--tokenizer", &tokenizer, "--layers", "8"];
    succeed(&[&["random-model", "--out", &at("large")], &like[..]].concat());
    succeed(&["export", "--model", &at("large"), "--out", &at("l.gguf"), "--type", "q8_0"]);
    let loaded = |model: &str| {
        let cases = ["--decode", "1", "--repeat", "1", "--sequences", "0", "--prefill", "0"];
        let out = succeed(&[&["bench", "--model", model, "--json"], &cases[..]].concat());
        let report: Value = serde_json::from_str(&out).expect("JSON");
        let bytes = |value: &Value| value.as_f64().expect("bytes");
        (bytes(&report["bytes_per_token"]), bytes(&report["memory"]["loading_peak_rss"]))
    };
    let ((few, least), (packed, peak)) = (loaded(&small), loaded(&at("l.gguf")));
    assert!(packed - few > 50e6, "{packed} bytes are too few to tell");
    assert!(peak - least < 1.1 * packed + 12e6, "{packed} packed take {} bytes", peak - least);
}

#[test]
fn bench_measures_a_router_of_the_model() {
    let folder = TempDir::new().expect("a folder");
    let router = folder.path().join("router.safetensors");
    write_router(&router);
    let router = router.display().to_string();
    let rest = ["--router", &router, "--decode", "4", "--repeat", "2", "--prefill", "0"];
    let slm = bundled("word-problems-slm");
    let out = succeed(&[&["bench", "--model", &slm, "--json"], &rest[..]].concat());
    let report: Value = serde_json::from_str(&out).expect("JSON");
    // A hidden state of 48, four probabilities, their margin and the entropy.
    assert_eq!(report["routing"]["layers"], serde_json::json!([[54, 1]]));
    for key in ["score_microseconds", "step_microseconds"] {
        assert!(report["routing"][key]["least"].as_f64().expect("a time") > 0.0);
    }
    let text = succeed(&[&["bench", "--model", &slm], &rest[..]].concat());
    assert!(text.contains("router of 54 x 1") && text.contains("% to a step"), "{text}");
    let llm = bundled("word-problems-llm");
    fail(&[&["bench", "--model", &llm], &rest[..]].concat(), &["hidden state of 48", "expected"]);
}

#[test]
fn bench_says_what_it_cannot_run() {
    let slm = bundled("word-problems-slm");
    fail(&["bench", "--model", &slm, "--decode", "0"], &["--decode is 0"]);
    fail(&["bench", "--random", "qwen9"], &["qwen9", "qwen2.5-0.5b"]);
    fail(&["bench", "--model", &slm, "--prefill", "600"], &["600", "512"]);
}

#[test]
fn a_random_model_is_the_same_as_a_gguf_file() {
    let folder = TempDir::new().expect("a folder");
    let model = random_model(&folder);
    let said = tokens(&model);
    assert_eq!(said.as_array().map(Vec::len), Some(24));
    for kind in ["f32", "f16", "Q8_0", "q4_0", "q4_k"] {
        let file = folder.path().join(format!("{kind}.gguf")).display().to_string();
        succeed(&["export", "--model", &model, "--out", &file, "--type", kind]);
        let found = tokens(&file);
        if kind.starts_with('f') {
            assert_eq!(found, said, "{kind}");
        }
        succeed(&["bench", "--model", &file, "--decode", "2", "--repeat", "1", "--prefill", "4"]);
    }
}

#[test]
fn export_refuses_what_the_type_cannot_hold() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("m.gguf");
    let out = file.display().to_string();
    let slm = bundled("word-problems-slm");
    // Rows of 48 are not a multiple of 32.
    fail(&["export", "--model", &slm, "--out", &out, "--type", "q8_0"], &["m.gguf", "48", "32"]);
    fail(&["export", "--model", &slm, "--out", &out, "--type", "q9"], &["q9", "Q8_0"]);
    fail(&["export", "--model", &slm, "--out", &out, "--type", "q6_k"], &["Q6_K", "Q4_K"]);
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
    succeed(&["export", "--model", &slm, "--out", &out]);
    assert_eq!(tokens(&out), tokens(&slm));
}
