//! The whole chain on the bundled pair: it runs, skips finished stages, gives the same curves
//! after a kill, and its exact sweep equals brute force.

mod support;

use std::time::Duration;

use support::{Lab, fail, succeed, swap_two_tokens, tokenroute};

const CURVES: &str = "experiments/e/run/sweep/curves.parquet";
const EXAMPLES: &str = "experiments/e/run/sweep/examples.json";

#[test]
fn the_chain_runs_skips_and_answers_questions_about_itself() {
    let lab = Lab::new(30, 16, 10);
    let experiment = lab.experiment();
    let estimate = |more: &[&str]| -> serde_json::Value {
        let mut command = tokenroute(&["label", &experiment, "--estimate", "--json"]);
        let output = command.args(more).env("TOKENROUTE_CACHE", lab.path("cache")).output();
        serde_json::from_slice(&output.expect("a process").stdout).expect("JSON")
    };
    let first = estimate(&[]);
    assert_eq!((&first["questions"], &first["earlier"]), (&46.into(), &false.into()));
    assert!(!lab.path("experiments/e/run").exists(), "an estimate must run nothing");
    // The pair has been measured, so fewer questions need no measurement.
    let second = estimate(&["--set", "data.validation=6"]);
    assert_eq!((&second["questions"], &second["earlier"]), (&36.into(), &true.into()));
    assert_eq!(second["sample"], first["sample"]);
    assert_eq!(estimate(&["--anew"])["earlier"], false);

    let table = succeed(&["run", &experiment]);
    assert!(table.contains("SLM alone") && table.contains("index.html"), "{table}");
    let curves = lab.bytes(CURVES);
    let report = std::fs::metadata(lab.path("reports/e/index.html")).expect("a report");

    // The course of the training, a line for each epoch.
    let history = String::from_utf8(lab.bytes("experiments/e/run/router/train.jsonl"));
    let history = history.expect("UTF-8");
    let epochs: Vec<serde_json::Value> =
        history.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(epochs.iter().all(|e| e["seed"] == 3 && e["train_loss"].is_f64()), "{history}");
    assert!(epochs.last().is_some_and(|e| e["auroc"].is_f64()), "{history}");

    // No input has changed, so no file is written.
    succeed(&["run", &experiment]);
    assert_eq!(lab.bytes(CURVES), curves);
    let again = std::fs::metadata(lab.path("reports/e/index.html")).expect("a report");
    assert_eq!(report.modified().expect("a time"), again.modified().expect("a time"));

    // Missing examples, or another number of them, are made without a sweep.
    let made = lab.bytes(EXAMPLES);
    let swept = || std::fs::metadata(lab.path(CURVES)).expect("curves").modified().expect("a time");
    let before = swept();
    std::fs::remove_file(lab.path(EXAMPLES)).expect("a file");
    let anew = ["report", &experiment, "--set", "report.examples=1"];
    fail(&anew, &["the example answers are missing or stale"]);
    succeed(&["sweep", &experiment]);
    assert_eq!(lab.bytes(EXAMPLES), made);
    lab.replace("experiments/e/experiment.toml", "examples = 2", "examples = 3");
    succeed(&["run", &experiment]);
    let examples: serde_json::Value = serde_json::from_slice(&lab.bytes(EXAMPLES)).expect("JSON");
    assert_eq!(examples["questions"].as_array().map(Vec::len), Some(3));
    assert_eq!(swept(), before, "the curves stay");

    // The summary has the keys that programs read.
    let summary: serde_json::Value =
        serde_json::from_slice(&lab.bytes("reports/e/summary.json")).expect("JSON");
    for pointer in [
        "/questions",
        "/slm/accuracy",
        "/llm/accuracy",
        "/points/0/target",
        "/points/0/llm_positions_per_question",
        "/llm_positions/sweep",
        "/points/3/tau",
        "/points/5/pgr",
        "/apgr",
        "/apgr20",
        "/apgr20_differences/entropy/holm_p",
        "/cpt50",
        "/cpt80",
        "/baselines/entropy/points/5/ci",
        "/baselines/lookup-tokens/apgr",
        "/baselines/query-cascade/apgr",
        "/baselines/query-head/apgr",
        "/baselines/query-agreement/apgr",
        "/baselines/rollout-oracle/points/0/accuracy",
        "/labels/identical",
        "/labels/neutral",
        "/labels/divergent",
        "/sweep/decoded_tokens",
        "/sweep/slm_only_tokens",
        "/sweep/cost_ratio",
        "/sweep/llm_cost_ratio",
        "/offloaded_tokens_per_question",
        "/seconds/sweep",
        "/provenance/slm",
    ] {
        assert!(summary.pointer(pointer).is_some(), "summary.json has no {pointer}");
    }
    assert_eq!(summary["questions"], 10);

    // Exact sweep = brute force at 21 values of τ, token for token.
    let checked = succeed(&["check-sweep", &experiment, "--questions", "8"]);
    assert!(checked.contains("8 questions at 21 values of τ"), "{checked}");
    let named = "sweep.baselines=[\"random\", \"handoff\", \"router-relay\", \"speculative-cascade\", \"glimp-router\"]";
    let all = ["check-sweep", &experiment, "--questions", "2", "--baselines", "--set", named];
    let checked = succeed(&all);
    for policy in
        ["router", "random", "handoff", "router-relay", "speculative-cascade", "glimp-router"]
    {
        let line = format!("{policy}: 2 questions at 21 values of τ");
        assert!(checked.contains(&line), "{checked}");
    }

    let inspected = succeed(&["inspect", &experiment, "--json"]);
    let inspected: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
    assert_eq!(inspected["groups"].as_array().map(Vec::len), Some(4));

    let wished = succeed(&["calibrate", &experiment, "--offload", "0.07", "--json"]);
    let wished: serde_json::Value = serde_json::from_str(&wished).expect("JSON");
    assert!(wished["calibration"]["offload"].as_f64().expect("a ratio") <= 0.07);
    assert_eq!(wished["tau"], summary["points"][3]["tau"]);
    let met = wished["target_met"]["share"].as_f64().expect("a share");
    assert!((0.0..=1.0).contains(&met) && wished["target_met"]["resamples"] == 50);
    let wished = ["calibrate", &experiment, "--confidence", "0.9", "--accuracy"];
    let guaranteed = succeed(&[&wished[..], &["0.3", "--json"]].concat());
    let guaranteed: serde_json::Value = serde_json::from_str(&guaranteed).expect("JSON");
    let least = guaranteed["guarantee"]["accuracy"].as_f64().expect("a bound");
    let measured = guaranteed["calibration"]["accuracy"].as_f64().expect("an accuracy");
    assert!(least == 0.3 && least < measured, "{guaranteed}");
    fail(&[&wished[..], &["1"]].concat(), &["cannot be guaranteed", "at most 0.", "--accuracy"]);
    fail(&[&wished[..], &["1.2"]].concat(), &["--accuracy is 1.2"]);

    // The network study is a separate stage and becomes part of the report.
    let readme = || String::from_utf8(lab.bytes("reports/e/README.md")).expect("UTF-8");
    assert!(!readme().contains("Accuracy against latency"));
    let timed = [
        "latency",
        &experiment,
        "--questions",
        "2",
        "--round-trips",
        "5,0",
        "--bandwidths",
        "20",
        "--tau",
        "0.9",
        "--max-ahead",
        "6",
        "--max-extra-calls",
        "9",
        "--step-ms",
        "0.5",
        "--json",
    ];
    let text = succeed(&timed);
    let study: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(study["identical"], true);
    let networks = study["networks"].as_array().expect("a list");
    assert_eq!(networks.len(), 2);
    assert_eq!(networks[0]["network"]["round_trip_ms"], 0.0, "the shortest first");
    for network in networks {
        let pace = network["token_seconds"].as_f64().expect("seconds");
        assert!(pace >= 0.0005, "steps are stretched: {pace}");
        let figure = |way: usize, name: &str| {
            network["rows"][way]["figures"][name]["value"].as_f64().expect("a number")
        };
        let [slm, llm, blocking, ahead, _] = [0, 1, 2, 3, 4];
        assert_eq!((figure(slm, "calls"), figure(slm, "bytes_up")), (0.0, 0.0));
        assert_eq!((figure(llm, "calls"), figure(llm, "offload")), (1.0, 1.0));
        assert_eq!(figure(blocking, "waits"), figure(blocking, "calls"));
        assert_eq!(figure(blocking, "offload"), figure(ahead, "offload"));
        assert!(figure(ahead, "waits") <= figure(blocking, "waits"));
        assert!(figure(ahead, "wasted_calls") <= 9.0);
        assert!(figure(llm, "bytes_down") > 500.0 && figure(llm, "llm_positions") > 20.0);
    }
    assert_eq!(succeed(&timed), text, "measured once");
    succeed(&["report", &experiment]);
    assert!(readme().contains("Accuracy against latency") && readme().contains("5 ms, 20 Mbit/s"));
    assert!(readme().contains("stretched to 0.5 ms"));
    assert!(lab.path("reports/e/latency.svg").exists() && lab.path("reports/e/bytes.svg").exists());

    // At τ = 1 the routed pair gives the LLM's tokens, at τ = 0 the SLM's.
    let slm = lab.path("models/word-problems-slm").display().to_string();
    let llm = lab.path("models/word-problems-llm").display().to_string();
    let router = lab.path("experiments/e/run/router/router.safetensors").display().to_string();
    let text = "Mia has 7 pens. Tom has 4 more pens than Mia. How many pens does Tom have?\n\
                11 (A) 3 (B) 12 (C) 4 (D) 7 (E)\n";
    for (model, tau) in [(&slm, "0"), (&llm, "1")] {
        let alone = succeed(&["generate", "--model", model, "--text", text]);
        let routed = succeed(&[
            "generate", "--slm", &slm, "--llm", &llm, "--router", &router, "--tau", tau, "--text",
            text,
        ]);
        assert_eq!(alone, routed, "τ = {tau}");
    }
}

#[test]
fn a_killed_run_ends_with_the_same_curves() {
    let whole = Lab::new(20, 8, 8);
    succeed(&["run", &whole.experiment()]);
    let killed = Lab::new(20, 8, 8);
    for milliseconds in [150, 400, 900, 1500] {
        let mut child = tokenroute(&["run", &killed.experiment()])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("a process");
        std::thread::sleep(Duration::from_millis(milliseconds));
        // It may have finished, so a failed kill is allowed.
        let _ = child.kill();
        child.wait().expect("an end");
    }
    succeed(&["run", &killed.experiment()]);
    assert!(whole.bytes(CURVES) == killed.bytes(CURVES), "the curves differ");
}

#[test]
fn a_killed_sweep_resumes_with_chunks_of_another_size() {
    let whole = Lab::new(20, 8, 8);
    succeed(&["run", &whole.experiment()]);
    let killed = Lab::new(20, 8, 8);
    let partial = killed.path("experiments/e/run/sweep/partial");
    // The second chunk begins when the first is whole.
    let has_chunk = || {
        let files = std::fs::read_dir(&partial).into_iter().flatten().flatten();
        let is_curves = |path: &std::path::PathBuf| path.extension() == Some("parquet".as_ref());
        files.map(|file| file.path()).filter(is_curves).count() > 1
    };
    let mut child = tokenroute(&["run", &killed.experiment(), "--set", "sweep.chunk=3"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("a process");
    while !has_chunk() && child.try_wait().expect("a process").is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let _ = child.kill();
    child.wait().expect("an end");
    succeed(&["run", &killed.experiment()]);
    assert!(whole.bytes(CURVES) == killed.bytes(CURVES), "the curves differ");
}

#[test]
fn a_finished_experiment_loads_no_model() {
    let lab = Lab::new(20, 8, 8);
    let experiment = lab.experiment();
    succeed(&["run", &experiment]);
    // The same weights with another tokenizer and another number of layers: the hashes match,
    // and loading either model would fail.
    swap_two_tokens(&lab.path("models/word-problems-llm/tokenizer.json"));
    let config = "models/word-problems-slm/config.json";
    lab.replace(config, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
    fail(&["check-sweep", &experiment], &["word-problems-slm"]);
    assert!(succeed(&["run", &experiment]).contains("SLM alone"));
    assert!(succeed(&["calibrate", &experiment, "--offload", "0.1"]).contains("τ = "));
    succeed(&["inspect", &experiment]);
    succeed(&["report", &experiment, "--set", "sweep.resamples=40"]);
}
