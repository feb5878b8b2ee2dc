//! `--set`: values by type, strings without quotes, and refusals that name key and value.

use std::path::{Path, PathBuf};

use tokenroute_lab::{Experiment, LabError, Override};

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments/quickstart/experiment.toml")
}

fn load(sets: &[&str]) -> Result<Experiment, LabError> {
    let sets: Vec<Override> = sets.iter().map(|set| set.parse().expect("key=value")).collect();
    Experiment::load(&quickstart(), &sets)
}

#[test]
fn values_take_the_type_of_their_key() {
    let experiment = load(&[
        "title=12",
        "seed=7",
        "pair.llm=http://127.0.0.1:8433",
        "pair.llm_model = \"quoted\"",
        "label.reference=gold",
        "label.on_policy_offload=0.1",
        "train.architecture={ kind = \"linear\", rewards = 1 }",
        "train.class_weight=none",
        "sweep.baselines=[\"margin\"]",
        "sweep.taus=[0.5, 0.9]",
        "data.prompt.chat=true",
        "data.prompt.date=2025-07-01",
        "report.folder=out",
    ])
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(experiment.title, "12");
    assert_eq!(experiment.seed, 7);
    assert_eq!(experiment.pair.llm, Path::new("http://127.0.0.1:8433"));
    assert_eq!(experiment.pair.llm_model.as_deref(), Some("quoted"));
    assert_eq!(experiment.sweep.baselines, ["margin"]);
    assert_eq!(experiment.data.prompt.date.as_deref(), Some("2025-07-01"));
    assert_eq!(experiment.report.folder.as_deref(), Some(Path::new("out")));
    assert!(
        experiment.command().ends_with("--set 'report.folder=out'"),
        "{}",
        experiment.command()
    );
}

#[test]
fn what_does_not_fit_is_refused_with_key_and_value() {
    for (set, causes) in [
        ("data.test=many", ["--set data.test=many", "expected usize"]),
        ("data.test=1.5", ["--set data.test=1.5", "floating point"]),
        ("data.tests=5", ["--set data.tests=5", "unknown field `tests`"]),
        ("nonsense.key=5", ["--set nonsense.key=5", "unknown field `nonsense`"]),
        ("title.x=5", ["--set title.x=5", "title is a value"]),
        ("label.reference=silver", ["--set label.reference=silver", "unknown variant `silver`"]),
        ("pair.slm_quantize=q9", ["--set pair.slm_quantize=q9", "q8_0"]),
        ("sweep.baselines=[\"entropie\"]", ["sweep.baselines has \"entropie\"", "max-probability"]),
        ("data.test=0", ["data.test is 0", "experiment.toml"]),
        ("train.epochs=0", ["train.epochs is 0", "at least 1"]),
        (
            "train.architecture={ kind = \"linear\", rewards = 3 }",
            ["train.architecture.rewards", "3"],
        ),
        ("train.architecture={ kind = \"cubic\" }", ["--set train.architecture", "cubic"]),
        ("train.train_split=test", ["train.train_split is \"test\"", "router-train"]),
        ("train.validation_split=dev", ["train.validation_split is \"dev\"", "calibration"]),
        ("train.seed=4", ["train.seed is not used", "experiment.toml"]),
        (
            "report.prices={ input = -1.0, cached_input = 0.0, output = 1.0, currency = \"USD\" }",
            ["report.prices.input is -1", "from 0 up"],
        ),
        ("report.prices={ rental = 1.0 }", ["--set report.prices", "unknown field `rental`"]),
        (
            "report.network={ round_trip_ms = 100.0, megabits = 0.0, slm_ms_per_token = 1.0, llm_ms_per_token = 1.0 }",
            ["report.network.megabits is 0", "above 0"],
        ),
        ("sweep.baselines=[\"entropy-but-phrasing\"]", ["sweep.phrasing is empty", "words"]),
        ("pair.llm_api=vllm", ["pair.llm_api", "behind a URL"]),
        ("data.files.dev.file=x", ["data.dataset", "data.files"]),
    ] {
        let error = load(&[set]).map(|_| ()).expect_err(set).to_string();
        assert!(causes.iter().all(|cause| error.contains(cause)), "{set}: {error}");
    }
}

#[test]
fn a_policy_that_needs_the_llms_probabilities_is_refused_where_the_api_gives_none() {
    const LABEL: &str = "label.llm_probabilities is true";
    const SWEEP: &str = "sweep.baselines has \"speculative-cascade\"";
    for (label, policies, asks) in [
        (true, "[\"speculative-cascade\"]", &[LABEL, SWEEP][..]),
        (false, "[\"random\", \"speculative-cascade\"]", &[SWEEP]),
        (true, "[\"random\"]", &[LABEL]),
        (false, "[\"random\"]", &[]),
    ] {
        for (api, gives) in [
            ("sglang", false),
            ("llama-cpp", false),
            ("openai", false),
            ("text", false),
            ("vllm", true),
            ("tokenroute", true),
        ] {
            let sets = [
                "pair.llm=http://127.0.0.1:1".to_owned(),
                format!("pair.llm_api={api}"),
                format!("label.llm_probabilities={label}"),
                format!("sweep.baselines={policies}"),
            ];
            let case = format!("{api} {label} {policies}");
            match load(&sets.each_ref().map(String::as_str)).map(|_| ()) {
                Ok(()) => assert!(gives || asks.is_empty(), "{case}"),
                Err(error) => {
                    let error = error.to_string();
                    let named = [LABEL, SWEEP].map(|key| error.contains(key));
                    assert_eq!(named, [LABEL, SWEEP].map(|key| asks.contains(&key)), "{error}");
                    assert!(!gives && error.contains("probabilities;"), "{case}: {error}");
                    assert!(error.contains(api), "{case}: {error}");
                }
            }
        }
    }
}

#[test]
fn a_server_of_whole_answers_and_a_limit_for_ids_are_refused() {
    let prices =
        "report.prices={ input = 1.0, cached_input = 1.0, output = 1.0, currency = \"USD\" }";
    let url = "pair.llm=http://127.0.0.1:1";
    for (sets, cause) in [
        (&[url, "pair.llm_api=chat"][..], Some("whole answers")),
        (&[url, "pair.max_spend=1.0", prices, "pair.llm_api=vllm"], Some("behind an API of text")),
        (&["pair.max_spend=1.0", prices], Some("behind an API of text")),
        (&[url, "pair.max_spend=1.0"], Some("prices")),
        // What the server takes is found later.
        (&[url, "pair.max_spend=1.0", prices], None),
    ] {
        let error = load(sets).map(|_| ()).err().map(|error| error.to_string());
        match (&error, cause) {
            (Some(error), Some(cause)) => assert!(error.contains(cause), "{sets:?}: {error}"),
            _ => assert_eq!(error.as_deref(), cause, "{sets:?}"),
        }
    }
}

#[test]
fn a_key_that_the_file_lacks_may_come_later() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("experiment.toml");
    let text = std::fs::read_to_string(quickstart()).expect("the file");
    let text = text.replace("test = 300\n", "").replace("validation = 150\n", "");
    std::fs::write(&path, text).expect("a write");
    let sets: Vec<Override> =
        ["data.validation=3", "data.test=4"].map(|s| s.parse().expect("key=value")).to_vec();
    assert_eq!(Experiment::load(&path, &sets).expect("whole").data.test, 4);
    let error = Experiment::load(&path, &sets[..1]).expect_err("no test").to_string();
    assert!(error.contains("missing field `test`") && error.contains("experiment.toml"), "{error}");
}

#[test]
fn an_argument_that_is_no_pair_of_key_and_value_is_refused() {
    for text in ["data.test", "=5", "data..test=5"] {
        assert!(text.parse::<Override>().is_err(), "{text}");
    }
}
