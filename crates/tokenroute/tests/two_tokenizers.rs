//! A pair with two tokenizers: the whole chain on the bundled pair, whose LLM reads text through a
//! tokenizer of its own. The exact sweep equals brute force.

mod support;

#[cfg(feature = "server")]
use std::io::{BufRead, BufReader};
#[cfg(feature = "server")]
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Lab, fail, succeed};
#[cfg(feature = "server")]
use support::{Server, tokenroute};

const LLM: &str = "models/word-problems-llm/tokenizer.json";

/// An experiment whose LLM lacks the last merges, so that it reads the same words in other tokens.
fn lab() -> Lab {
    let lab = Lab::new(20, 8, 8);
    let mut tokenizer: Value = serde_json::from_slice(&lab.bytes(LLM)).expect("JSON");
    let merges = tokenizer["model"]["merges"].as_array_mut().expect("a list");
    merges.truncate(merges.len() * 2 / 3);
    lab.write(LLM, &tokenizer.to_string());
    lab
}

const THROUGH: [&str; 2] = ["--set", "pair.through_text=true"];

#[test]
fn the_chain_runs_on_two_tokenizers_and_its_sweep_is_exact() {
    let lab = lab();
    let experiment = lab.experiment();
    fail(&["run", &experiment], &["merges differ", "through_text = true"]);
    let with = |command: &[&str]| succeed(&[command, &THROUGH].concat());
    let table = with(&["run", &experiment]);
    assert!(table.contains("SLM alone"), "{table}");
    let checked = with(&["check-sweep", &experiment, "--questions", "6"]);
    assert!(checked.contains("6 questions at 21 values of τ"), "{checked}");

    let page = String::from_utf8(lab.bytes("reports/e/index.html")).expect("UTF-8");
    assert!(page.contains("In its own tokens the LLM answers"), "no notice");
    let took: Value =
        serde_json::from_slice(&lab.bytes("experiments/e/run/sweep/took.json")).expect("JSON");
    let count = |name: &str| took["text"][name].as_u64().expect("a count");
    assert!(count("answers") > 100 && count("positions") > count("answers"), "{took}");
    assert!(count("respelled") < count("answers"), "{took}");

    // Nothing has changed, so nothing is made again.
    let curves = lab.bytes("experiments/e/run/sweep/curves.parquet");
    with(&["run", &experiment]);
    assert_eq!(lab.bytes("experiments/e/run/sweep/curves.parquet"), curves);
}

/// The same LLM behind a server that is asked for text alone.
#[test]
#[cfg(feature = "server")]
fn a_server_of_text_serves_the_whole_chain() {
    let lab = lab();
    let llm = lab.path("models/word-problems-llm").display().to_string();
    let cloud = Server::start(tokenroute(&["cloud", "--model", &llm, "--bind", "127.0.0.1:0"]));
    let experiment = lab.experiment();
    let url = format!("pair.llm={}", cloud.url);
    let with = |command: &[&str], api: &str| -> Vec<String> {
        let more = ["--set", &url, "--set", api].map(str::to_owned);
        command.iter().map(|&part| part.to_owned()).chain(more).collect()
    };
    let refused = with(&["run", &experiment], "pair.llm_api=chat-continue");
    fail(&refused.iter().map(String::as_str).collect::<Vec<_>>(), &["chat-continue", "chats"]);
    for command in [&["run", &experiment][..], &["check-sweep", &experiment, "--questions", "4"]] {
        let command = with(command, "pair.llm_api=text");
        let out = succeed(&command.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(out.contains("SLM alone") || out.contains("all equal"), "{out}");
    }
    let took: Value =
        serde_json::from_slice(&lab.bytes("experiments/e/run/sweep/took.json")).expect("JSON");
    assert!(
        took["text"]["calls"].as_u64() > Some(0) && took["paid"]["requests"].as_u64() > Some(0)
    );
    // Without its name the API is found, so that nothing is made again.
    let before = lab.bytes("experiments/e/run/sweep/took.json");
    succeed(&["run", &experiment, "--set", &url]);
    assert_eq!(lab.bytes("experiments/e/run/sweep/took.json"), before);
    let wrong = ["run", &experiment, "--set", &url, "--set", "data.prompt.chat=true"];
    fail(&wrong, &["pair.llm_api", "takes plain prompts"]);
}

/// A server that starts after the command.
#[test]
#[cfg(feature = "server")]
fn a_server_that_starts_late_is_asked_again() {
    for (lab, same) in [(Lab::new(4, 4, 4), true), (lab(), false)] {
        let llm = lab.path("models/word-problems-llm").display().to_string();
        let cloud =
            |bind: &str| Server::start(tokenroute(&["cloud", "--model", &llm, "--bind", bind]));
        let first = cloud("127.0.0.1:0");
        let (url, name) = (first.url.clone(), format!("pair.llm_model={}", first.name));
        first.stop();
        let (experiment, named) = (lab.experiment(), format!("pair.llm={url}"));
        let label = ["label", &experiment, "--set", &named, "--set", &name];
        // With its notes.
        let mut command = Command::new(env!("CARGO_BIN_EXE_tokenroute"));
        let spawned = command.args(label).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("a process");
        let mut lines = BufReader::new(child.stderr.take().expect("its notes")).lines();
        let away = lines.by_ref().map_while(Result::ok).find(|l| l.contains("does not answer"));
        assert!(away.is_some_and(|line| line.contains(&url)));
        let started = cloud(url.trim_start_matches("http://"));
        let rest: Vec<String> = lines.map_while(Result::ok).collect();
        let (rest, ended) = (rest.join("\n"), child.wait().expect("an end"));
        assert_eq!(ended.success(), same, "{rest}");
        started.stop();
        if same {
            assert!(rest.contains("takes token ids"), "{rest}");
            // What is done needs no server.
            succeed(&label);
        } else {
            assert!(rest.contains("takes text alone (API text)"), "{rest}");
            assert!(rest.contains("start the command again"), "{rest}");
        }
    }
}

#[test]
fn policies_and_servers_that_text_does_not_serve_are_refused_early() {
    let lab = lab();
    let experiment = lab.experiment();
    let cascade = "sweep.baselines=[\"speculative-cascade\"]";
    let run = ["run", &experiment, "--set", cascade];
    fail(&[&run[..], &THROUGH].concat(), &["speculative-cascade", "pair.through_text"]);
    let run = ["run", &experiment, "--set", "pair.llm=http://127.0.0.1:9"];
    fail(&[&run[..], &THROUGH].concat(), &["pair.through_text", "runs here"]);
}
