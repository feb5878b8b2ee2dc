//! Two processes over one folder, and over one answer cache: the second is refused with words
//! that say why, or comes later, and the artefacts are those of one process alone.
#![cfg(all(feature = "lab", feature = "server"))]

mod support;

use std::process::{Output, Stdio};

use support::{Lab, Server, complain, model, root, succeed, tokenroute, write_router};

const SHARD: &str = "experiments/e/run/labels/round-0/round0-router-train-00000.parquet";

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn processes_over_one_run_folder_give_what_one_gives() {
    let alone = Lab::new(12, 4, 4);
    succeed(&["label", &alone.experiment()]);
    let lab = Lab::new(12, 4, 4);
    let experiment = lab.experiment();
    let started: Vec<_> = (0..3)
        .map(|_| {
            let mut command = tokenroute(&["label", &experiment]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process")
        })
        .collect();
    let outputs = started.into_iter().map(|child| child.wait_with_output().expect("an end"));
    let (done, refused): (Vec<_>, Vec<_>) = outputs.partition(|output| output.status.success());
    assert!(!done.is_empty(), "{:?}", refused.iter().map(text).collect::<Vec<_>>());
    for output in &refused {
        complain(output, &["works in", "wait until it ends"]);
    }
    // What they left is finished, sound, and as one process makes it.
    succeed(&["label", &experiment]);
    assert_eq!(lab.bytes(SHARD), alone.bytes(SHARD));
}

#[test]
fn an_answer_cache_in_use_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    write_router(path("router.safetensors").as_ref());
    let questions = root().join("datasets/word-problems/test.jsonl");
    let cloud =
        tokenroute(&["cloud", "--model", &model("word-problems-llm"), "--bind", "127.0.0.1:0"]);
    let cloud = Server::start(cloud);
    let (slm, router, answers) =
        (model("word-problems-slm"), path("router.safetensors"), path("answers.redb"));
    let questions = questions.display().to_string();
    let arguments = [
        "generate",
        "--slm",
        &slm,
        "--llm",
        &cloud.url,
        "--router",
        &router,
        "--tau",
        "0.5",
        "--questions",
        &questions,
        "--max-tokens",
        "20",
        "--json",
        "--llm-cache",
        &answers,
    ];
    let mut first = tokenroute(&arguments);
    let mut first = first.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a process");
    // The first has opened the cache once the file is there.
    while !std::path::Path::new(&answers).exists() {
        assert!(
            first.try_wait().expect("a child").is_none(),
            "it ended before it opened the cache"
        );
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let second = tokenroute(&arguments).output().expect("a process");
    let first = first.wait_with_output().expect("an end");
    assert!(first.status.success(), "{}", text(&first));
    match second.status.success() {
        // It came after the first had ended.
        true => assert_eq!(second.stdout, first.stdout),
        false => complain(&second, &["answers.redb", "in use", "end the other process"]),
    }
    let third = tokenroute(&arguments).output().expect("a process");
    assert!(third.status.success(), "{}", text(&third));
}
