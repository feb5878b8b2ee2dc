//! `--handoff`: an answer changes hands at most once, and its rest comes in one call.

mod support;

use serde_json::Value;
use support::{complain, model, root, succeed, tokenroute};
use tempfile::TempDir;

#[test]
fn an_answer_goes_to_the_large_model_for_good() {
    let folder = TempDir::new().expect("a folder");
    let questions = folder.path().join("questions.jsonl").display().to_string();
    let all = std::fs::read_to_string(root().join("datasets/word-problems/test.jsonl"));
    let first: Vec<String> = all.expect("questions").lines().take(6).map(str::to_owned).collect();
    std::fs::write(&questions, first.join("\n")).expect("a file");
    let router = model("word-problems-router/router.safetensors");
    let (slm, llm) = (model("word-problems-slm"), model("word-problems-llm"));
    let pair = ["generate", "--slm", &slm, "--llm", &llm, "--router", &router, "--handoff"];
    let said =
        succeed(&[&pair[..], &["--tau", "0.9", "--questions", &questions, "--json"]].concat());
    let mut handed = 0;
    for answer in said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
        let tokens = answer["trace"]["tokens"].as_array().expect("tokens");
        let large: Vec<bool> = tokens.iter().map(|token| token["origin"] == "llm").collect();
        assert!(large.is_sorted(), "{answer}");
        let calls = u64::from(large.contains(&true));
        assert_eq!(answer["llm_calls"], calls, "{answer}");
        handed += calls;
    }
    assert!(handed > 0, "no answer was handed over");
    // The router's calibration is not that of a handoff.
    let refused = tokenroute(&[&pair[..], &["--offload", "0.1", "--text", "a"]].concat()).output();
    complain(&refused.expect("a process"), &["--handoff", "--offload"]);
}
