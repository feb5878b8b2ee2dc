//! Words of files and servers reach the terminal without control characters: a terminal obeys
//! escape sequences.
#![cfg(feature = "server")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

use serde_json::{Value, json};
use support::{Lab, model, root, write_router};

/// Changes the terminal's title, clears it, and goes back over what was written.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{8}\r";

const QUESTIONS: &str = "datasets/word-problems/test.jsonl";

/// Runs the program, not quietly, and expects an error whose words hold no control characters.
fn complains(arguments: &[&str], word: &str) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tokenroute"));
    let output = command.args(arguments).output().expect("a process");
    assert!(!output.status.success(), "{arguments:?}");
    is_harmless(&output);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(word), "{word:?} is not in: {error}");
}

fn is_harmless(output: &Output) {
    for bytes in [&output.stderr, &output.stdout] {
        let text = String::from_utf8_lossy(bytes);
        let hidden = |c: char| c.is_control() && c != '\n' && c != '\t';
        assert!(!text.contains(hidden), "{text:?}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// A server that gives every request this status and body.
fn stub(status: &'static str, body: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        // Every connection has one request.
        for mut client in listener.incoming().map_while(Result::ok) {
            drop(client.read(&mut [0; 65536]));
            let length = body.len();
            let head =
                format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}");
            drop(client.write_all(format!("{head}\r\n\r\n{body}").as_bytes()));
        }
    });
    url
}

/// Header and data of a safetensors file.
fn split(file: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let (head, data) = file[8..].split_at(length);
    (head.to_vec(), data.to_vec())
}

#[test]
fn a_file_s_words_are_harmless() {
    let lab = Lab::new(4, 4, 4);
    let slm = "models/word-problems-slm";
    let slm_path = lab.path(slm).display().to_string();
    let generate = ["generate", "--model", &slm_path, "--text", "Mia has 3"];
    let changed = |name: &str, change: &dyn Fn(&mut Value), word: &str, arguments: &[&str]| {
        let path = format!("{slm}/{name}");
        let sound = lab.bytes(&path);
        let mut value: Value = serde_json::from_slice(&sound).expect("JSON");
        change(&mut value);
        lab.write(&path, &value.to_string());
        complains(arguments, word);
        std::fs::write(lab.path(&path), sound).expect("a file");
    };
    let family = |config: &mut Value| config["model_type"] = json!(HOSTILE);
    changed("config.json", &family, "model_type", &generate);
    let act = |config: &mut Value| config["hidden_act"] = json!(HOSTILE);
    changed("config.json", &act, "hidden_act", &generate);
    let far = |tokenizer: &mut Value| tokenizer["model"]["vocab"][HOSTILE] = json!(100_000_000);
    changed("tokenizer.json", &far, "tokenizer.json", &generate);
    let kind = |tokenizer: &mut Value| tokenizer["model"]["type"] = json!(HOSTILE);
    changed("tokenizer.json", &kind, "tokenizer.json", &generate);
    // A special token of that name, which a question spells.
    let special = |tokenizer: &mut Value| {
        let token = tokenizer["added_tokens"][0].clone();
        let ends = token["content"].as_str().expect("a token").to_owned();
        let vocabulary = tokenizer["model"]["vocab"].as_object_mut().expect("a vocabulary");
        if let Some(id) = vocabulary.remove(&ends) {
            vocabulary.insert(HOSTILE.to_owned(), id);
        }
        tokenizer["added_tokens"][0]["content"] = json!(HOSTILE);
    };
    let text = String::from_utf8(lab.bytes(QUESTIONS)).expect("UTF-8");
    let mut question: Value =
        serde_json::from_str(text.lines().next().expect("a question")).expect("JSON");
    question["id"] = json!(HOSTILE);
    question["question"] = json!(format!("Mia {HOSTILE} has"));
    lab.write("spelled.jsonl", &question.to_string());
    let spelled = lab.path("spelled.jsonl").display().to_string();
    let ask = ["generate", "--model", &slm_path, "--questions", &spelled];
    changed("tokenizer.json", &special, "spelled.jsonl", &ask);
    question["question"] = json!("Mia has ".repeat(900));
    lab.write("long.jsonl", &question.to_string());
    let long = lab.path("long.jsonl").display().to_string();
    complains(&["generate", "--model", &slm_path, "--questions", &long], "long.jsonl");
    question.as_object_mut().expect("an object").remove("answerKey");
    lab.write("keyless.jsonl", &question.to_string());
    let keyless = lab.path("keyless.jsonl").display().to_string();
    complains(&["generate", "--model", &slm_path, "--questions", &keyless], "keyless.jsonl");
    lab.write("broken.jsonl", &format!("{{\"id\": \"{HOSTILE}\" oops"));
    let broken = lab.path("broken.jsonl").display().to_string();
    complains(&["generate", "--model", &slm_path, "--questions", &broken], "broken.jsonl");
    // Names of tensors, and a template.
    let tensor = json!({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]});
    let header = Value::from_iter([(HOSTILE.to_owned(), tensor)]).to_string();
    let mut weights = (header.len() as u64).to_le_bytes().to_vec();
    weights.extend([header.as_bytes(), &[0; 4]].concat());
    let path = format!("{slm}/model.safetensors");
    let sound = lab.bytes(&path);
    std::fs::write(lab.path(&path), &weights).expect("a file");
    complains(&generate, "model.safetensors");
    std::fs::write(lab.path(&path), sound).expect("a file");
    let router = std::fs::read(root().join("models/word-problems-router/router.safetensors"));
    let (head, data) = split(&router.expect("the bundled router"));
    let mut header: Value = serde_json::from_slice(&head).expect("JSON");
    let (from, to) = (data.len(), data.len() + 4);
    header[HOSTILE] = json!({"dtype": "F32", "shape": [1], "data_offsets": [from, to]});
    let mut header = header.to_string();
    header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
    let length = (header.len() as u64).to_le_bytes();
    let spoilt = [&length[..], header.as_bytes(), &data, &[0; 4]].concat();
    std::fs::write(lab.path("router.safetensors"), spoilt).expect("a file");
    let router = lab.path("router.safetensors").display().to_string();
    let llm = model("word-problems-llm");
    let pair = ["generate", "--slm", &slm_path, "--llm", &llm, "--router", &router];
    complains(&[&pair[..], &["--tau", "0.5", "--text", "Mia"]].concat(), "belongs to no layer");
    lab.write(&format!("{slm}/chat_template.jinja"), &format!("{{% {HOSTILE} %}}"));
    complains(&["chat", "--slm", &slm_path], "chat_template.jinja");
}

#[test]
fn a_server_s_words_are_harmless() {
    let folder = tempfile::tempdir().expect("a folder");
    let router = folder.path().join("router.safetensors");
    write_router(&router);
    let (slm, router) = (model("word-problems-slm"), router.display().to_string());
    let list = |name: &str| json!({"data": [{"id": name, "owned_by": "vllm"}]}).to_string();
    let hostile = json!({"error": {"message": HOSTILE, "code": HOSTILE}}).to_string();
    for (url, more) in [
        (stub("200 OK", list(HOSTILE)), &["--llm-model", "other"][..]),
        (stub("200 OK", json!({"data": [{"id": "m", "owned_by": HOSTILE}]}).to_string()), &[]),
        (stub("200 OK", HOSTILE.to_owned()), &[]),
        (stub("401 Unauthorized", hostile), &[]),
        (stub("404 Not Found", HOSTILE.to_owned()), &[]),
    ] {
        let fixed = ["generate", "--slm", &slm, "--llm", &url, "--router", &router];
        let arguments = [&fixed[..], &["--tau", "0.5", "--text", "Mia has"], more].concat();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tokenroute"));
        let output = command.args(&arguments).output().expect("a process");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!error.is_empty(), "{arguments:?} says nothing");
        is_harmless(&output);
    }
}
