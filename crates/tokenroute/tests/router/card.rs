//! Model cards, and routers that are named by their folder or on the Hub.

use std::process::Output;

use serde_json::Value;

use super::generate;
use super::hub::{Hub, serve};
use super::support::{Lab, complain, fail, succeed, write_router};

/// A laboratory whose experiment has run.
fn run() -> Lab {
    let lab = Lab::new(24, 8, 8);
    succeed(&["run", &lab.experiment()]);
    lab
}

#[test]
fn a_card_states_what_the_report_measured_and_its_folder_is_a_router() {
    let lab = run();
    let out = lab.path("card").display().to_string();
    let experiment = lab.experiment();
    succeed(&["router", "card", &experiment, "--out", &out, "--license", "apache-2.0"]);
    let trained = lab.bytes("experiments/e/run/router/router.safetensors");
    assert_eq!(lab.bytes("card/router.safetensors"), trained);
    let card = String::from_utf8(lab.bytes("card/README.md")).expect("UTF-8");
    let (front, body) = card[4..].split_once("\n---\n").expect("front matter");
    assert!(card.starts_with("---\n") && front.contains("\nlicense: \"apache-2.0\"\n"));
    let ours = front.lines().find_map(|line| line.strip_prefix("tokenroute: ")).expect("a key");
    let ours: Value = serde_json::from_str(ours).expect("a value in one line");
    let summary = lab.bytes("reports/e/summary.json");
    let summary: Value = serde_json::from_slice(&summary).expect("JSON");
    assert_eq!(ours["curve"]["apgr"], summary["apgr"]);
    assert_eq!(ours["curve"]["points"][0]["accuracy"], summary["points"][0]["accuracy"]);
    assert_eq!(ours["pair"]["slm_hash"], summary["provenance"]["slm"]);
    for section in ["Pair", "Curve", "Data", "Calibration", "Limits"] {
        assert!(body.contains(&format!("\n## {section}\n")), "{section}");
    }
    assert!(body.contains("word-problems-slm") && body.contains("router-train 24, validation 8"));
    assert!(body.contains("On 8 test questions") && body.contains("| LLM alone |"));

    // A router that the report did not measure has no card.
    let other = lab.path("other.safetensors");
    write_router(&other);
    let other = other.display().to_string();
    let card = ["router", "card", &experiment, "--out", &out, "--router", &other];
    fail(&card, &["summary.json is of the router", "name the summary of this router"]);
    std::fs::remove_file(lab.path("reports/e/summary.json")).expect("a file");
    let card = ["router", "card", &experiment, "--out", &out];
    fail(&card, &["run `tokenroute run` on the experiment first"]);
}

#[test]
fn a_router_is_named_by_its_file_its_folder_or_on_the_hub() {
    let lab = tempfile::tempdir().expect("a folder");
    let file = lab.path().join("router.safetensors");
    write_router(&file);
    let bytes = std::fs::read(&file).expect("a router");
    let files = [("owner/router", "router.safetensors", bytes), ("owner/none", "a.txt", vec![1])]
        .map(|(repository, file, bytes)| ((repository.to_owned(), file.to_owned()), bytes));
    let (endpoint, _hub) = serve(Hub { files: files.into_iter().collect(), ..Hub::default() });
    let decode = |router: &str| -> Output {
        let mut command = generate(router, &["--tau", "0.5", "--max-tokens", "16", "--json"]);
        command.env("HF_ENDPOINT", &endpoint).env("HF_HOME", lab.path().join("hub"));
        command.env_remove("HF_HUB_CACHE").env_remove("HF_HUB_OFFLINE").env_remove("HF_TOKEN");
        command.output().expect("a process")
    };
    let tokens = |router: &str| -> Value {
        let output = decode(router);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        answer["tokens"].clone()
    };
    let local = tokens(&file.display().to_string());
    let folder = lab.path().display().to_string();
    for router in
        [&folder, "hf:owner/router", "hf:owner/router@v1", "hf:owner/router:router.safetensors"]
    {
        assert_eq!(tokens(router), local, "{router}");
    }
    complain(&decode("hf:owner/none"), &["hf:owner/none:router.safetensors"]);
    complain(&decode("hf:owner"), &["hf:owner", "owner/name"]);
}
