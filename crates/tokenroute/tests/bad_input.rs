//! Bad input: one clear error that names file and value, a non-zero exit, and
//! earlier artefacts whole.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use support::{Lab, complain, fail, succeed, swap_two_tokens, tokenroute};

const SLM: &str = "models/word-problems-slm/model.safetensors";
const QUESTIONS: &str = "datasets/word-problems/test.jsonl";

#[test]
fn missing_weights() {
    let lab = Lab::new(4, 4, 4);
    std::fs::remove_file(lab.path(SLM)).expect("weights");
    fail(&["run", &lab.experiment()], &["model.safetensors"]);
}

#[test]
fn truncated_weights() {
    let lab = Lab::new(4, 4, 4);
    let bytes = lab.bytes(SLM);
    std::fs::write(lab.path(SLM), &bytes[..bytes.len() / 2]).expect("a file");
    fail(&["run", &lab.experiment()], &["model.safetensors"]);
}

#[test]
fn weights_that_are_not_numbers() {
    let lab = Lab::new(4, 4, 4);
    let mut bytes = lab.bytes(SLM);
    let last = bytes.len() - 2;
    // A half-precision NaN, little endian.
    bytes[last..].copy_from_slice(&[0x00, 0x7e]);
    std::fs::write(lab.path(SLM), bytes).expect("a file");
    fail(&["run", &lab.experiment()], &["model.safetensors", "NaN"]);
}

#[test]
fn tokenizers_that_do_not_match() {
    let lab = Lab::new(4, 4, 4);
    swap_two_tokens(&lab.path("models/word-problems-llm/tokenizer.json"));
    fail(&["run", &lab.experiment()], &["word-problems-slm", "word-problems-llm", "vocabulary"]);
}

#[test]
fn an_llm_without_the_probabilities_that_labels_or_a_policy_need() {
    let lab = Lab::new(4, 4, 4);
    // llama.cpp's server, as its list of models tells.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let llm = format!("pair.llm=http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            let body = r#"{"data": [{"id": "m", "owned_by": "llamacpp"}]}"#;
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}");
            drop(client.read(&mut [0; 4096]));
            drop(client.write_all(format!("{head}\r\n\r\n{body}").as_bytes()));
        }
    });
    let policy = "sweep.baselines=[\"speculative-cascade\"]";
    let (labels, experiment) = ("label.llm_probabilities=true", lab.experiment());
    for (command, sets, names) in [
        ("run", &[policy][..], &["speculative-cascade"][..]),
        ("label", &[labels], &["label.llm_probabilities is true"]),
        ("label", &[labels, policy], &["label.llm_probabilities is true", "speculative-cascade"]),
    ] {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        let command: Vec<&str> =
            [command, &experiment, "--set", &llm].into_iter().chain(sets).collect();
        fail(&command, &[names, &["llama-cpp", "no log-probabilities"]].concat());
        let labels = std::path::Path::new(&experiment).with_file_name("run").join("labels");
        assert!(!labels.join("round-0").exists(), "it fails before it labels");
    }
}

#[test]
fn rollouts_that_cannot_be_made() {
    let lab = Lab::new(4, 4, 4);
    // No model is there, so whatever is refused is refused before one is loaded.
    std::fs::remove_dir_all(lab.path("models")).expect("a folder");
    for (set, parts) in [
        ("label.continuation=\"routed\"", &["label.continuation", "no router yet"][..]),
        ("label.samples=0", &["label.samples", "is 0"]),
        ("label.samples=4", &["label.samples", "set `temperature`"]),
        ("label.temperature=3", &["label.temperature", "expected 0 (greedy) to 2"]),
    ] {
        fail(&["label", &lab.experiment(), "--set", set], parts);
    }
}

#[test]
fn a_malformed_question() {
    let lab = Lab::new(4, 4, 4);
    lab.replace(QUESTIONS, "\n{\"id\"", "\n{\"id\" oops");
    fail(&["run", &lab.experiment()], &["test.jsonl", "line 2"]);
}

#[test]
fn a_question_without_its_answer_key() {
    let lab = Lab::new(4, 4, 4);
    let text = String::from_utf8(lab.bytes(QUESTIONS)).expect("UTF-8");
    let line = text.lines().next().expect("a question");
    let mut question: serde_json::Value = serde_json::from_str(line).expect("JSON");
    question.as_object_mut().expect("an object").remove("answerKey");
    lab.replace(QUESTIONS, line, &question.to_string());
    fail(&["run", &lab.experiment()], &["test.jsonl", "line 1", "answerKey"]);
}

#[test]
fn a_row_that_does_not_fit_its_columns() {
    let lab = Lab::new(4, 4, 4);
    let files = ["router-train", "validation", "test"]
        .map(|split| format!("files.{split} = {{ file = \"{split}.csv\" }}\n"));
    lab.replace(
        "experiments/e/experiment.toml",
        "dataset = \"../../datasets/word-problems\"\n",
        &format!(
            "columns = {{ question = \"q\", choices = [\"a\", \"b\"], answer = \"key\" }}\n{}",
            files.concat()
        ),
    );
    let rows = "q,a,b,key\nMia has 3 apples. How many?,3,4,A\n".to_owned();
    let rows =
        (0..4).fold(rows, |rows, i| rows + &format!("Tim has {i} pens. How many?,{i},9,A\n"));
    for split in ["router-train", "validation"] {
        lab.write(&format!("experiments/e/{split}.csv"), &rows);
    }
    for (test, parts) in [
        (
            rows.replace("q,a,b,key", "q,a,b,answer"),
            &["line 2", "`key` is missing; the row has"][..],
        ),
        (rows.replace("3,4,A", "3,4,C"), &["line 2", "`key` is \"C\"; expected one of A, B"]),
        (rows.replace("2,9,A", "2,,A"), &["line 5", "hold 1 choices; expected at least 2"]),
        (rows.replace("2,9,A", "2,9"), &["line 5", "it has 3 values; expected 4"]),
    ] {
        lab.write("experiments/e/test.csv", &test);
        fail(&["run", &lab.experiment()], &[&["test.csv"], parts].concat());
        assert!(!lab.path("experiments/e/run/labels/round-0").exists(), "{parts:?}");
    }
}

#[test]
fn a_threshold_out_of_range() {
    let lab = Lab::new(4, 4, 4);
    let path = |p: &str| lab.path(p).display().to_string();
    let (slm, llm) = (path("models/word-problems-slm"), path("models/word-problems-llm"));
    let pair = ["generate", "--slm", &slm, "--llm", &llm, "--router", "r", "--text", "a"];
    for (threshold, parts) in [
        (&["--tau", "1.5"][..], &["τ is 1.5", "from 0"][..]),
        (&["--tau", "half"], &["τ is \"half\"", "a number from 0"]),
        (&["--tau", ""], &["τ is \"\"", "a number from 0"]),
        (&["--offload", "7"], &["the offload ratio is 7", "from 0"]),
        (&["--offload", "few"], &["'few'", "--offload"]),
        (&["--offload", "0.1", "--tau", "0.5"], &["--offload", "--tau", "cannot be used with"]),
        (&[], &["--tau", "--offload"]),
    ] {
        fail(&[&pair[..], threshold].concat(), parts);
    }
}

#[test]
fn an_unknown_key_in_the_experiment() {
    let lab = Lab::new(4, 4, 4);
    lab.replace("experiments/e/experiment.toml", "resamples", "resampels");
    fail(&["run", &lab.experiment()], &["experiment.toml", "resampels"]);
}

#[test]
fn a_baseline_that_does_not_exist() {
    let lab = Lab::new(4, 4, 4);
    lab.replace("experiments/e/experiment.toml", "\"entropy\"", "\"entropie\"");
    fail(&["run", &lab.experiment()], &["entropie", "max-probability"]);
}

#[test]
fn counts_and_times_beyond_any_use() {
    let huge = "9223372036854775807";
    for (arguments, option) in [
        (&["step", "--model", "m", "--ids", "1", "--top-k", huge][..], "--top-k"),
        (&["generate", "--slm", "s", "--text", "a", "--llm-deadline", huge], "--llm-deadline"),
        (&["generate", "--slm", "s", "--text", "a", "--deadline", huge], "--deadline"),
        (&["generate", "--slm", "s", "--text", "a", "--llm-hedge", huge], "--llm-hedge"),
    ] {
        fail(arguments, &[option, huge]);
    }
    #[cfg(feature = "server")]
    for (command, option, value) in [
        ("serve --slm m", "--time", "18446744073709551615"),
        ("serve --slm m", "--time", "0"),
        ("serve --slm m", "--sessions", huge),
        ("serve --slm m", "--queue", huge),
        ("serve --slm m", "--max-tokens", huge),
        ("serve --slm m", "--max-prompt", "0"),
        ("serve --slm m", "--kept-positions", huge),
        ("cloud --model m", "--batch", huge),
        ("cloud --model m", "--kept-positions", huge),
        ("cloud --model m", "--memory", "2GB"),
        ("serve --slm m", "--memory", "1.5G"),
        ("serve --slm m", "--memory", "0"),
        ("serve --slm m", "--memory", "2g"),
        ("serve --slm m", "--memory", "99999999999G"),
    ] {
        let arguments: Vec<&str> = command.split(' ').chain([option, value]).collect();
        fail(&arguments, &[option, value]);
    }
}

#[cfg(feature = "server")]
#[test]
fn memory_that_is_too_small_for_the_weights_or_for_one_request() {
    let lab = Lab::new(4, 4, 4);
    let model = lab.path("models/word-problems-llm").display().to_string();
    fail(&["cloud", "--model", &model, "--memory", "G"], &["--memory", "500M or 2G"]);
    // The first is refused before loading, the second after it.
    for (memory, words) in [("1M", "weights take at least"), ("20M", "a request of 512 tokens")] {
        fail(&["cloud", "--model", &model, "--memory", memory], &["--memory", words, "raise it"]);
        fail(&["serve", "--slm", &model, "--memory", memory], &["--memory", words, "raise it"]);
    }
}

#[test]
fn a_question_that_is_too_long_or_spells_a_special_token() {
    let lab = Lab::new(4, 4, 4);
    let text = String::from_utf8(lab.bytes(QUESTIONS)).expect("UTF-8");
    let slm = lab.path("models/word-problems-slm").display().to_string();
    let path = lab.path("some.jsonl");
    let generate = |change: &dyn Fn(&mut serde_json::Value), more: &[&str]| {
        let mut lines: Vec<String> = text.lines().take(3).map(str::to_owned).collect();
        let mut question: serde_json::Value = serde_json::from_str(&lines[1]).expect("JSON");
        question["id"] = "the-odd-one".into();
        change(&mut question);
        lines[1] = question.to_string();
        std::fs::write(&path, lines.join("\n")).expect("a file");
        let path = path.display().to_string();
        let arguments = ["generate", "--model", &slm, "--questions", &path, "--max-tokens", "9999"];
        [&arguments[..], more].concat().iter().map(|&a| a.to_owned()).collect::<Vec<String>>()
    };
    fn refs(arguments: &[String]) -> Vec<&str> {
        arguments.iter().map(String::as_str).collect()
    }
    // An answer ends where the context does; no question loses the others' answers.
    let whole = generate(&|_| {}, &["--json"]);
    assert_eq!(succeed(&refs(&whole)).lines().count(), 3);
    let long = |question: &mut serde_json::Value| {
        question["question"] = "How many apples has Mia? ".repeat(400).into();
    };
    let place = ["some.jsonl", "line 2", "the-odd-one"];
    let arguments = generate(&long, &["--json"]);
    let output = tokenroute(&refs(&arguments)).output().expect("a process");
    complain(&output, &[&place[..], &["the model reads", "1 of 3 questions"]].concat());
    let answers = String::from_utf8(output.stdout).expect("UTF-8");
    let whole = succeed(&refs(&generate(&|_| {}, &["--json"])));
    let others: Vec<&str> = whole.lines().step_by(2).collect();
    assert_eq!(answers.lines().collect::<Vec<_>>(), others);
    let special = |question: &mut serde_json::Value| {
        question["question"] = "Mia <|endoftext|> has".into();
    };
    let words = ["<|endoftext|>", "--allow-special-tokens"];
    fail(&refs(&generate(&special, &[])), &[&place[..], &words].concat());
    succeed(&refs(&generate(&special, &["--allow-special-tokens"])));
}

/// `export` writes beside the file and renames, but never onto a pipe, and through no link that
/// waits there.
#[cfg(unix)]
#[test]
fn an_output_that_is_no_file_or_that_a_link_waits_for() {
    use std::os::unix::fs::{FileTypeExt, symlink};
    let lab = Lab::new(4, 4, 4);
    let (model, pipe) = (lab.path("models/word-problems-slm"), lab.path("pipe.gguf"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let (model, named) = (model.display().to_string(), pipe.display().to_string());
    fail(&["export", "--model", &model, "--out", &named], &["pipe.gguf", "no regular file"]);
    let kind = std::fs::metadata(&pipe).expect("the pipe").file_type();
    assert!(kind.is_fifo());
    let (victim, out) = (lab.path("victim"), lab.path("out.gguf"));
    std::fs::write(&victim, "mine").expect("a file");
    for planted in ["out.gguf.partial", "out.partial", ".out.gguf.partial", "out.gguf"] {
        symlink(&victim, lab.path(planted)).expect("a link");
    }
    succeed(&["export", "--model", &model, "--out", &out.display().to_string()]);
    assert_eq!(std::fs::read_to_string(&victim).expect("the victim"), "mine");
    assert!(std::fs::symlink_metadata(&out).expect("the model").is_file());
}

#[test]
fn a_folder_in_which_another_process_works() {
    let lab = Lab::new(4, 4, 4);
    let run = lab.path("experiments/e/run");
    std::fs::create_dir_all(&run).expect("a folder");
    std::fs::write(run.join("lock"), "process 4711").expect("a file");
    let lock = std::fs::File::open(run.join("lock")).expect("a file");
    lock.lock().expect("a lock");
    for command in ["run", "label"] {
        fail(&[command, &lab.experiment()], &["process 4711 works in", "wait until it ends"]);
    }
    drop(lock);
    succeed(&["label", &lab.experiment()]);
}

/// A file-size limit makes a write fail midway. The earlier table stays.
#[cfg(unix)]
#[test]
fn a_write_that_fails_midway() {
    let lab = Lab::new(10, 10, 4);
    succeed(&["label", &lab.experiment()]);
    let shard = "experiments/e/run/labels/round-0/round0-router-train-00000.parquet";
    let before = lab.bytes(shard);
    lab.replace(
        "experiments/e/experiment.toml",
        "questions_per_shard = 10",
        "questions_per_shard = 9",
    );
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 8; exec \"$0\" --quiet label \"$1\""])
        .args([env!("CARGO_BIN_EXE_tokenroute"), &lab.experiment()])
        .output()
        .expect("a shell");
    complain(&output, &["parquet"]);
    assert_eq!(lab.bytes(shard), before);
    succeed(&["label", &lab.experiment()]);
}
