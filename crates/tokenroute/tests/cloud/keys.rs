//! Keys: they open the cloud, and stand in nothing that is written or shown.

#[cfg(feature = "lab")]
use std::path::{Path, PathBuf};

#[cfg(feature = "lab")]
use crate::support::{Lab, write_router};
use crate::support::{fail, model, tokenroute};
use crate::{KEY, arguments, cloud, lab, warnings};

/// All files under a folder.
#[cfg(feature = "lab")]
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
#[cfg(feature = "lab")]
fn a_key_is_in_nothing_that_is_written() {
    const SECRET: &str = "sesame-4711-open";
    let lab = Lab::new(4, 4, 4);
    let cloud = cloud(&model("word-problems-llm"), Some(SECRET));
    lab.replace(
        "experiments/e/experiment.toml",
        "llm = \"../../models/word-problems-llm\"",
        &format!("llm = \"{}\"", cloud.url),
    );
    let cache = lab.path("experiments/e/kept.redb").display().to_string();
    let (slm, router) = (model("word-problems-slm"), lab.path("router.safetensors"));
    write_router(&router);
    let router = router.display().to_string();
    let routed = [
        &["generate", "--slm", &slm, "--llm", &cloud.url, "--router", &router][..],
        &["--tau", "1", "--text", "Mia has", "--llm-cache", &cache, "--json"],
    ]
    .concat();
    let mut shown = Vec::new();
    for arguments in
        [&["label", &lab.experiment(), "--json"][..], &["run", &lab.experiment()], &routed]
    {
        // Without --quiet, which would print less.
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tokenroute"));
        let output = command.args(arguments).env(KEY, SECRET).output().expect("a process");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        shown.extend([output.stdout, output.stderr].concat());
    }
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    let written = [files(&lab.path("experiments")), files(&lab.path("reports"))].concat();
    let holding = |text: &str| {
        let read = |path: &&PathBuf| std::fs::read(path).expect("a file");
        written.iter().filter(|path| holds(&read(path), text)).collect::<Vec<_>>()
    };
    assert!(!holds(&shown, SECRET) && !shown.is_empty());
    assert_eq!(holding(SECRET), Vec::<&PathBuf>::new());
    // The search covers all output, and finds a control text.
    for part in ["run/llm-answers.redb", "kept.redb", "run/labels", "run/sweep", "reports/e"] {
        let is_there = written.iter().any(|path| path.display().to_string().contains(part));
        assert!(is_there, "{part} is not in {written:?}");
    }
    assert!(!holding("A small study").is_empty());
}

#[test]
fn a_key_opens_the_cloud_and_is_never_shown() {
    let lab = lab();
    let llm = model("word-problems-llm");
    fail(
        &["cloud", "--model", &llm, "--bind", "0.0.0.0:0"],
        &["0.0.0.0", "no API key", "bind to 127.0.0.1"],
    );
    let cloud = cloud(&llm, Some("sesame-4711"));
    for (key, opens) in [(None, false), (Some("sesame-4712"), false), (Some("sesame-4711"), true)] {
        let arguments = arguments(&lab, &cloud.url, "1", &[]);
        let mut command = tokenroute(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        command.env_remove(KEY);
        if let Some(key) = key {
            command.env(KEY, key);
        }
        let output = command.output().expect("a process");
        assert_eq!(output.status.success(), opens, "{key:?}");
        let shown = [&output.stdout[..], &output.stderr].concat();
        let shown = String::from_utf8_lossy(&shown);
        assert!(!shown.contains("sesame"), "{shown}");
        assert!(opens || shown.contains("401"), "{shown}");
    }
}

#[test]
fn a_key_that_others_can_read_on_the_way_is_warned_of() {
    let lab = lab();
    // No such host: the warning comes before the first request.
    let away = "http://llm.invalid:8433";
    let text = warnings(&lab, away, Some("sesame-4711"));
    assert!(text.contains("over plain HTTP") && text.contains("use https"), "{text}");
    assert!(!text.contains("sesame"), "{text}");
    for (url, key) in [
        (away, None),
        ("https://llm.invalid:8433", Some("sesame-4711")),
        ("http://127.0.0.1:9", Some("sesame-4711")),
    ] {
        let text = warnings(&lab, url, key);
        assert!(!text.contains("over plain HTTP"), "{url}: {text}");
    }
}
