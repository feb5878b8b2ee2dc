//! The bundled pair behind `tokenroute serve`, with real clients: OpenAI's own, and a browser.
//! Without Python, the client or Chromium, the test prints a note and passes.
#![cfg(feature = "server")]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use support::{Server, complain, fail, model, python, root, tokenroute, write_router};
use tempfile::TempDir;

const KEY: &str = "TOKENROUTE_SERVE_KEY";
const SECRET: &str = "sesame-4711";
const QUESTIONS: &str = "datasets/word-problems/test.jsonl";

/// `tokenroute serve` with this key.
fn serve(arguments: &[&str], key: Option<&str>) -> Server {
    let mut command = tokenroute(&["serve", "--bind", "127.0.0.1:0"]);
    command.args(arguments).env_remove(KEY).env_remove("TOKENROUTE_CLOUD_KEY");
    if let Some(key) = key {
        command.env(KEY, key);
    }
    let server = Server::start(command);
    assert_eq!(server.name, "word-problems-slm");
    server
}

/// The first test question as its prompt, without the line break at the end, which
/// the model's chat template adds.
fn question() -> String {
    let text = std::fs::read_to_string(root().join(QUESTIONS)).expect("questions");
    let line = text.lines().next().expect("a question");
    let question: tokenroute_core::Question = serde_json::from_str(line).expect("JSON");
    question.prompt().trim_end().to_owned()
}

/// Runs a client script on the pair behind a key. Returns its output. The script gets τ as
/// text.
fn client(script: &str, llm: &str, tau: &str) -> String {
    let folder = TempDir::new().expect("a folder");
    let router = folder.path().join("router.safetensors");
    write_router(&router);
    let slm = model("word-problems-slm");
    let router = router.display().to_string();
    let pair = ["--slm", &slm, "--llm", llm, "--router", &router, "--tau", tau, "--speculate"];
    let server = serve(&pair, Some(SECRET));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let said = python(&path, &[&server.url, SECRET, &question(), tau]);
    let complaints = server.stop();
    assert!(!complaints.contains("4711"), "{complaints}");
    format!("{script}: {}", said.trim())
}

#[test]
fn the_official_client_works_unchanged() {
    println!("{}", client("openai_client.py", &model("word-problems-llm"), "0"));
}

#[test]
fn the_page_works_in_a_browser() {
    // The large model in a separate process, so that bytes are counted.
    let mut cloud = tokenroute(&["cloud", "--model", &model("word-problems-llm")]);
    cloud.args(["--bind", "127.0.0.1:0"]).env_remove("TOKENROUTE_CLOUD_KEY");
    let cloud = Server::start(cloud);
    println!("{}", client("page.py", &cloud.url, "0.9932045"));
    assert_eq!(cloud.stop(), "");
}

#[test]
fn what_cannot_be_served_is_refused_at_once() {
    let slm = model("word-problems-slm");
    let open = ["serve", "--slm", &slm, "--bind", "0.0.0.0:0"];
    let output = tokenroute(&open).env_remove(KEY).output().expect("a process");
    complain(&output, &["0.0.0.0", "no API key", "bind to 127.0.0.1"]);
    let output = tokenroute(&open).env(KEY, "two words").output().expect("a process");
    complain(&output, &[KEY, "visible ASCII"]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let output = tokenroute(&["serve", "--slm", &slm, "--bind", &taken]).output();
    let output = output.expect("a process");
    complain(&output, &[&taken, "in use"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("in use").count(), 1, "{said}");
    fail(&["serve", "--slm", &slm, "--llm", &slm], &["--router"]);
    fail(&["serve", "--slm", &slm, "--tau", "0.5"], &["--llm"]);
    let all = ["--llm", &slm, "--router", "r", "--tau", "2"];
    fail(&[&["serve", "--slm", &slm], &all[..]].concat(), &["τ is 2"]);
}

#[test]
fn who_asks_twice_waits_for_nothing_under_way() {
    let server = serve(&["--slm", &model("word-problems-slm")], None);
    let address = server.url.strip_prefix("http://").expect("a URL").to_owned();
    let mut socket = TcpStream::connect(&address).expect("a connection");
    let head = "POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    socket.write_all(head.as_bytes()).expect("a request");
    // The server waits for its body.
    let mut said = [0; 12];
    socket.read_exact(&mut said).expect("an invitation");
    assert_eq!(&said, b"HTTP/1.1 100");
    server.terminate();
    while TcpStream::connect(&address).is_ok() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.insist(), Some(128 + 15));
}

#[test]
fn a_small_model_serves_alone() {
    let server = serve(&["--slm", &model("word-problems-slm")], None);
    assert_eq!(server.stop(), "");
}
