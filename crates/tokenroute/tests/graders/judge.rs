//! The grader `judge`: a model on a chat server judges every answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::support::{Lab, complain, fail, succeed, tokenroute};
use crate::{accuracies, lab};

const PROMPT: &str = "key {key}: {answer}";
const KEY: &str = "judge-key-1234";

/// A chat server that judges as the bundled pair's own grader does, or always says the same.
struct Judge {
    url: String,
    asked: Arc<AtomicUsize>,
    /// The last request: its head and its body.
    last: Arc<Mutex<(String, Value)>>,
}

impl Judge {
    fn start(says: Option<&'static str>) -> Judge {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/v1", listener.local_addr().expect("an address"));
        let (asked, last) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let judge = Judge { url, asked: Arc::clone(&asked), last: Arc::clone(&last) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (asked, last) = (Arc::clone(&asked), Arc::clone(&last));
                thread::spawn(move || while answer(&stream, says, &asked, &last).is_some() {});
            }
        });
        judge
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The part of an experiment file.
    fn section(&self) -> String {
        format!(
            "grader = \"judge\"\njudge = {{ url = \"{}\", model = \"m\", prompt = \"{PROMPT}\" }}",
            self.url
        )
    }
}

/// Answers one request; `None` once the connection ends.
fn answer(
    stream: &TcpStream,
    says: Option<&str>,
    asked: &AtomicUsize,
    last: &Mutex<(String, Value)>,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let length = lower.split("content-length: ").nth(1)?.split("\r\n").next()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    let text = body["messages"][0]["content"].as_str()?;
    let (key, answer) = text.strip_prefix("key ")?.split_once(": ")?;
    let stated = answer.split("answer is ").nth(1).is_some_and(|rest| {
        rest.split_once('(').is_some_and(|(_, rest)| rest.starts_with(&format!("{key})")))
    });
    let verdict = says.unwrap_or(if stated { "Yes." } else { "No." });
    let reply = json!({"choices": [{"message": {"role": "assistant", "content": verdict}}]});
    let reply = reply.to_string();
    asked.fetch_add(1, Ordering::SeqCst);
    *last.lock().expect("the last request") = (head, body);
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{reply}",
        reply.len()
    )
    .ok()
}

fn run(lab: &Lab) {
    let output = tokenroute(&["run", &lab.experiment()])
        .env("TOKENROUTE_JUDGE_KEY", KEY)
        .output()
        .expect("a process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_judge_grades_like_the_grader_that_it_imitates() {
    let own = lab("grader = \"stated-letter\"");
    succeed(&["run", &own.experiment()]);
    let judge = Judge::start(None);
    let judged = lab(&judge.section());
    run(&judged);
    assert_eq!(accuracies(&own), accuracies(&judged));
    let (head, body) = judge.last.lock().expect("the last request").clone();
    assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
    assert!(head.contains(&format!("Bearer {KEY}")), "{head}");
    assert_eq!((&body["model"], &body["temperature"]), (&json!("m"), &json!(0)));
    // Every verdict is kept: a sweep from the beginning asks for none.
    let before = judge.asked();
    assert!(before > 0);
    std::fs::remove_dir_all(judged.path("experiments/e/run/sweep")).expect("the sweep's folder");
    run(&judged);
    assert_eq!(judge.asked(), before);
    for entry in std::fs::read_dir(judged.path("experiments/e/run/verdicts")).expect("verdicts") {
        let text = std::fs::read_to_string(entry.expect("a file").path()).expect("lines");
        assert!(!text.contains(KEY));
        let cut = text.lines().count();
        assert!(cut > 0 && cut <= before, "one line for each answer");
    }
}

#[test]
fn a_reply_that_is_no_verdict_is_an_error() {
    let judge = Judge::start(Some("It depends."));
    let lab = lab(&judge.section());
    let parts = ["question ", "\"m\" at http://127.0.0.1:", "It depends.", "yes or no"];
    fail(&["label", &lab.experiment()], &parts);
    assert!(!lab.path("experiments/e/run/verdicts").exists(), "nothing is kept");
}

#[test]
fn a_judge_that_cannot_be_asked_is_refused_before_a_model_is_loaded() {
    let judge = Judge::start(None);
    let lab = lab(&judge.section());
    for (set, parts) in [
        ("data.judge.url=\"nowhere\"", &["data.judge.url", "nowhere"][..]),
        ("data.judge.model=\"\"", &["data.judge.model", "is empty"]),
        ("data.judge.prompt=\"is it?\"", &["data.judge.prompt", "{answer}"]),
        ("data.judge.prompt=\"{answer} {kee}\"", &["data.judge.prompt", "{kee} is unknown"]),
        ("data.judge.max_tokens=0", &["data.judge.max_tokens", "is 0"]),
        ("data.judge.seconds=-1", &["data.judge.seconds", "is -1"]),
        ("data.grader=choice", &["data.judge", "is not used"]),
    ] {
        fail(&["label", &lab.experiment(), "--set", set], parts);
    }
    let far = ["label", &lab.experiment(), "--set", "data.judge.url=\"http://judge.example\""];
    let output = tokenroute(&far).env("TOKENROUTE_JUDGE_KEY", KEY).output().expect("a process");
    complain(&output, &["data.judge.url", "TOKENROUTE_JUDGE_KEY", "https"]);
    assert_eq!(judge.asked(), 0);
    assert!(!lab.path("experiments/e/run/labels").exists());
}
