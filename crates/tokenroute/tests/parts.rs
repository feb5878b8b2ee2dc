//! Stages made in parts by several processes: merged, they are what one process makes, and parts
//! that do not belong together are refused by name.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::{Lab, Server, copy, fail, model, succeed, tokenroute};

/// More shards and chunks than parts.
const SMALL: [&str; 4] = ["--set", "label.questions_per_shard=3", "--set", "sweep.chunk=2"];

/// Every file of a stage but its cost, by path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in std::fs::read_dir(&inner).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "took.json") {
                let name = path.strip_prefix(folder).expect("inside").to_owned();
                found.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

#[track_caller]
fn assert_same(whole: &Lab, parts: &Lab, stage: &str) {
    let folder = format!("experiments/e/run/{stage}");
    let [whole, parts] = [whole, parts].map(|lab| files(&lab.path(&folder)));
    assert!(whole.keys().eq(parts.keys()), "{stage}: {:?}, {:?}", whole.keys(), parts.keys());
    for (name, bytes) in &whole {
        assert!(*bytes == parts[name], "{} of {stage} differs", name.display());
    }
}

fn start(arguments: &[&str]) -> Child {
    let mut command = tokenroute(arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a process")
}

/// Makes four parts at the same time. The second is killed when its first file is there, and
/// started again.
fn in_four_processes(lab: &Lab, stage: &str, begun: &str, more: &[&str]) {
    let experiment = lab.experiment();
    let of = |part: &str| -> Vec<String> {
        let own = [stage, &experiment, "--part", part];
        own.iter().chain(more).map(|&argument| argument.to_owned()).collect()
    };
    let texts: Vec<Vec<String>> = ["1/4", "2/4", "3/4", "4/4"].map(of).into();
    let arguments: Vec<Vec<&str>> =
        texts.iter().map(|text| text.iter().map(String::as_str).collect()).collect();
    let mut children: Vec<Child> = arguments.iter().map(|arguments| start(arguments)).collect();
    let sign = lab.path("experiments/e/run/parts/2-of-4").join(begun);
    let until = Instant::now() + Duration::from_secs(60);
    while !sign.exists() && Instant::now() < until {
        // It may be too fast to be killed.
        if children[1].try_wait().expect("a process").is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(children[1].kill());
    children[1].wait().expect("an end");
    succeed(&arguments[1]);
    for (i, mut child) in children.into_iter().enumerate() {
        let status = child.wait().expect("an end");
        assert!(i == 1 || status.success(), "part {} of {stage}", i + 1);
    }
}

#[test]
fn four_processes_make_what_one_makes() {
    let whole = Lab::new(20, 8, 8);
    succeed(&[&["run", &whole.experiment()], &SMALL[..]].concat());
    let lab = Lab::new(20, 8, 8);
    let experiment = lab.experiment();
    let with = |stage: &[&str]| succeed(&[stage, &SMALL[..]].concat());

    in_four_processes(&lab, "label", "labels/round-0/partial/progress.json", &SMALL);
    let merged = with(&["label", &experiment, "--merge"]);
    assert!(merged.contains("round 0 is merged") && merged.contains("round 1 next"), "{merged}");
    in_four_processes(&lab, "label", "labels/round-1/partial/progress.json", &SMALL);
    assert!(with(&["label", &experiment, "--merge"]).contains("rows in"));
    assert_same(&whole, &lab, "labels");
    assert!(with(&["label", &experiment, "--part", "3/4"]).contains("no part is left"));

    with(&["train", &experiment]);
    assert_same(&whole, &lab, "router");
    in_four_processes(&lab, "sweep", "sweep/partial/query-head.json", &SMALL);
    assert!(with(&["sweep", &experiment, "--merge"]).contains("LLM positions"));
    assert_same(&whole, &lab, "sweep");
    assert!(with(&["sweep", &experiment, "--part", "1/4"]).contains("no part is left"));
    let parts = lab.path("experiments/e/run/parts/2-of-4");
    assert!(!parts.join("labels/round-0").exists() && !parts.join("sweep").exists());
}

#[test]
fn four_processes_share_one_server() {
    let llm = model("word-problems-llm");
    let server = Server::start(tokenroute(&["cloud", "--model", &llm, "--bind", "127.0.0.1:0"]));
    let url = format!("pair.llm={}", server.url);
    let set = [&SMALL[..], &["--set", &url, "--set", "label.rounds=0"]].concat();
    let [whole, lab] = [(); 2].map(|()| Lab::new(12, 6, 4));
    succeed(&[&["label", &whole.experiment()], &set[..]].concat());
    in_four_processes(&lab, "label", "labels/round-0/partial/progress.json", &set);
    succeed(&[&["label", &lab.experiment(), "--merge"], &set[..]].concat());
    assert_same(&whole, &lab, "labels");
}

#[test]
fn parts_that_do_not_belong_together_are_refused_by_name() {
    let lab = Lab::new(12, 6, 4);
    let experiment = lab.experiment();
    let set = [&SMALL[..], &["--set", "label.rounds=0"]].concat();
    let arguments = |stage: &[&str], more: &[&str]| -> Vec<String> {
        stage.iter().chain(&set).chain(more).map(|&argument| argument.to_owned()).collect()
    };
    let label = |more: &[&str]| {
        let own = arguments(&["label", &experiment], more);
        succeed(&own.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let refuse = |stage: &str, parts: &[&str]| {
        let own = arguments(&[stage, &experiment, "--merge"], &[]);
        fail(&own.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    };
    refuse("label", &["no part", "label --part i/n"]);
    label(&["--part", "1/2"]);
    refuse("label", &["part 2/2 is missing", "2-of-2", "label --part 2/2"]);

    // A part with another setting, then one of other weights.
    label(&["--part", "2/2", "--set", "label.max_rollouts_per_question=1"]);
    refuse("label", &["part 2/2", "other work", "`max_rollouts_per_question` is 1; expected 0"]);
    let other = Lab::new(12, 6, 4);
    let weights = "models/word-problems-slm/model.safetensors";
    let mut bytes = other.bytes(weights);
    // The sign of one weight.
    *bytes.last_mut().expect("weights") ^= 0x80;
    std::fs::write(other.path(weights), bytes).expect("a file");
    succeed(&[&["label", &other.experiment(), "--part", "2/2"], &set[..]].concat());
    let round = "experiments/e/run/parts/2-of-2/labels/round-0/partial";
    std::fs::remove_dir_all(lab.path(round)).expect("a folder");
    copy(&other.path(round), &lab.path(round));
    refuse("label", &["part 2/2", "2-of-2", "other work", "the input `slm`"]);

    // A part that lost a shard, and parts of another number.
    label(&["--part", "2/2"]);
    let shard = lab.path(round).join("round0-router-train-00001.parquet");
    std::fs::write(&shard, "cut").expect("a file");
    refuse("label", &["part 2/2", "lacks 1 of its 3 shards", "00001.parquet", "--part 2/2"]);
    label(&["--part", "2/2"]);
    label(&["--part", "3/3"]);
    refuse("label", &["parts of 2 and of 3", "delete"]);
    std::fs::remove_dir_all(lab.path("experiments/e/run/parts/3-of-3")).expect("a folder");
    label(&["--merge"]);

    // The same of the sweep.
    succeed(&[&["train", &experiment], &set[..]].concat());
    let sweep = |part: &str, more: &[&str]| {
        let own = arguments(&["sweep", &experiment, "--part", part], more);
        succeed(&own.iter().map(String::as_str).collect::<Vec<_>>());
    };
    sweep("1/2", &[]);
    refuse("sweep", &["part 2/2 is missing", "sweep --part 2/2"]);
    sweep("2/2", &["--set", "sweep.baselines=[\"random\"]"]);
    refuse("sweep", &["part 2/2", "other work", "`baselines`"]);
    sweep("2/2", &["--set", "sweep.chunk=3"]);
    refuse("sweep", &["part 2/2", "lacks files of its", "sweep.chunk"]);
    sweep("2/2", &[]);
    let chunk = lab.path("experiments/e/run/parts/2-of-2/sweep/partial/test-00000-00002.parquet");
    let other = lab.path("experiments/e/run/parts/1-of-2/sweep/partial/test-00000-00002.parquet");
    let chunk = if chunk.exists() { chunk } else { other };
    let bytes = std::fs::read(&chunk).expect("a chunk");
    std::fs::write(&chunk, &bytes[..bytes.len() / 2]).expect("a file");
    refuse("sweep", &["test-00000-00002.parquet", "not a usable curve file"]);
    std::fs::remove_file(&chunk).expect("a file");
    refuse("sweep", &["lacks files", "test-00000-00002"]);

    for part in ["0/2", "3/2", "two"] {
        fail(&["label", &experiment, "--part", part], &["--part", "expected i/n"]);
    }
}
