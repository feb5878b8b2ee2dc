//! `--handoff`: an answer changes hands at most once, and its rest comes in one call. From a chat
//! that cannot go on with a begun answer it comes whole.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use support::{complain, fail, model, root, succeed, tokenroute};
use tempfile::TempDir;

#[test]
fn an_answer_goes_to_the_large_model_for_good() {
    let folder = TempDir::new().expect("a folder");
    let questions = folder.path().join("questions.jsonl").display().to_string();
    let all = std::fs::read_to_string(root().join("datasets/word-problems/test.jsonl"));
    let first: Vec<String> = all.expect("questions").lines().take(6).map(str::to_owned).collect();
    std::fs::write(&questions, first.join("\n")).expect("a file");
    let router = model("word-problems-router/router.safetensors");
    let (slm, llm) = (model("word-problems-slm"), model("word-problems-llm"));
    let pair = ["generate", "--slm", &slm, "--llm", &llm, "--router", &router, "--handoff"];
    let said =
        succeed(&[&pair[..], &["--tau", "0.9", "--questions", &questions, "--json"]].concat());
    let mut handed = 0;
    for answer in said.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")) {
        let tokens = answer["trace"]["tokens"].as_array().expect("tokens");
        let large: Vec<bool> = tokens.iter().map(|token| token["origin"] == "llm").collect();
        assert!(large.is_sorted(), "{answer}");
        let calls = u64::from(large.contains(&true));
        assert_eq!(answer["llm_calls"], calls, "{answer}");
        handed += calls;
    }
    assert!(handed > 0, "no answer was handed over");
    // The router's calibration is not that of a handoff.
    let refused = tokenroute(&[&pair[..], &["--offload", "0.1", "--text", "a"]].concat()).output();
    complain(&refused.expect("a process"), &["--handoff", "--offload"]);
}

/// A hosted chat: it refuses fields that it does not know, and always answers the same. It counts
/// its requests for an answer.
struct Chat {
    url: String,
    answered: Arc<AtomicUsize>,
    last: Arc<Mutex<Value>>,
}

const SAID: &str = "Mia has 3 + 4 = 7 apples. The answer is 7.";

fn chat() -> Chat {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (answered, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Value::Null)));
    let (count, kept) = (Arc::clone(&answered), Arc::clone(&last));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (count, kept) = (Arc::clone(&count), Arc::clone(&kept));
            std::thread::spawn(move || reply(client, &count, &kept));
        }
    });
    Chat { url, answered, last }
}

fn reply(mut client: TcpStream, count: &AtomicUsize, kept: &Mutex<Value>) {
    let mut reader = BufReader::new(client.try_clone().expect("a clone"));
    loop {
        let (mut line, mut length) = (String::new(), 0);
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let mut header = String::new();
        while reader.read_line(&mut header).unwrap_or(0) > 2 {
            let lower = header.to_lowercase();
            length = lower
                .strip_prefix("content-length: ")
                .map_or(length, |n| n.trim().parse().expect("a length"));
            header.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let messages = body["messages"].as_array().map_or(&[][..], Vec::as_slice);
        let begun = messages.iter().any(|message| message.get("prefix").is_some())
            || body.get("continue_final_message").is_some();
        let (status, said) = match line.split(' ').nth(1).unwrap_or_default() {
            "/v1/models" => (200, json!({"data": [{"id": "hosted", "owned_by": "someone"}]})),
            "/v1/chat/completions" if !begun => {
                count.fetch_add(1, Ordering::SeqCst);
                *kept.lock().expect("no panic") = body;
                let message = json!({"role": "assistant", "content": SAID});
                let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
                let usage = json!({"prompt_tokens": 30, "completion_tokens": 15});
                (200, json!({"choices": [choice], "usage": usage}))
            }
            _ => (400, json!({"error": {"message": "unknown"}})),
        };
        let said = said.to_string();
        let size = said.len();
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {size}\r\n\r\n");
        if client.write_all((head + &said).as_bytes()).is_err() {
            return;
        }
    }
}

const QUESTION: &str = "Mia has 3 apples and buys 4 more. How many apples does Mia have?";

/// The lines that `chat` prints, and its notes.
fn talk(arguments: &[&str], lines: &str) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tokenroute"));
    command.arg("chat").args(arguments).env("NO_COLOR", "1");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a process");
    child.stdin.take().expect("its input").write_all(lines.as_bytes()).expect("lines");
    let output = child.wait_with_output().expect("an end");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (text(output.stdout), text(output.stderr))
}

#[test]
fn a_hosted_chat_gives_the_whole_answer() {
    let chat = chat();
    let router = model("word-problems-router/router.safetensors");
    let slm = model("word-problems-slm");
    let pair = ["--slm", &slm, "--llm", &chat.url, "--router", &router, "--max-tokens", "60"];
    let with = |more: &[&str]| talk(&[&pair[..], more].concat(), &format!("{QUESTION}\n"));

    // What it is is found, and it needs a handoff.
    let (_, beside) = with(&["--tau", "1"]);
    assert!(beside.contains("answers them whole (API chat)"), "{beside}");
    assert!(beside.contains("use --handoff"), "{beside}");
    let before = chat.answered.load(Ordering::SeqCst);
    let (said, beside) = with(&["--tau", "1", "--handoff"]);
    assert_eq!(said.trim_end(), SAID, "{beside}");
    // One request finds it out, and one is the answer.
    assert_eq!(chat.answered.load(Ordering::SeqCst), before + 2, "{beside}");
    assert!(beside.contains("(100.0%), 1 LLM calls"), "{beside}");

    // With its name it is asked once. The small model's own answer costs nothing.
    let named = ["--handoff", "--llm-api", "chat", "--llm-model", "hosted"];
    let spend = ["--max-spend", "0.01", "--llm-prices", "1,1,2"];
    let before = chat.answered.load(Ordering::SeqCst);
    let (said, beside) = with(&[&named[..], &spend, &["--tau", "0.8"]].concat());
    assert_eq!(said.trim_end(), SAID);
    assert!(beside.contains("SLM positions discarded"), "{beside}");
    assert!(beside.contains("0.000060 spent"), "30 + 2 * 15 millionths: {beside}");
    assert_eq!(chat.answered.load(Ordering::SeqCst), before + 1);
    let sent = chat.last.lock().expect("no panic").clone();
    assert_eq!(sent["messages"], json!([{"role": "user", "content": QUESTION}]));
    assert_eq!((&sent["model"], &sent["max_tokens"]), (&json!("hosted"), &json!(60)));
    let (own, _) = with(&[&named[..], &["--tau", "0"]].concat());
    assert_ne!(own.trim_end(), SAID);
    assert_eq!(chat.answered.load(Ordering::SeqCst), before + 1);

    // Beyond the limit of spending the small model goes on.
    let spend = ["--max-spend", "0.0001", "--llm-prices", "1,1,2"];
    let (kept, beside) = with(&[&named[..], &spend, &["--tau", "1"]].concat());
    assert_eq!(kept, own, "{beside}");
    assert!(beside.contains("degraded") && beside.contains("refused"), "{beside}");
    assert_eq!(chat.answered.load(Ordering::SeqCst), before + 1);

    for (more, part) in [
        (&["--llm-cache", "cache.redb"][..], "a cache of its answers"),
        (&["--warm", "4"], "a warm-up"),
    ] {
        let (_, beside) = with(&[&named[..], &["--tau", "1"], more].concat());
        assert!(beside.contains(part) && beside.contains("leave it out"), "{beside}");
    }
    let generate = [&["generate"][..], &pair, &named, &["--tau", "1", "--text", "a"]].concat();
    fail(&generate, &["chat", "takes chats"]);
}

/// The reply's body to a chat request.
#[cfg(feature = "server")]
fn post(url: &str, body: &str) -> String {
    let address = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("a server");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).expect("a request");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("a reply");
    reply.split_once("\r\n\r\n").expect("a head").1.to_owned()
}

#[test]
#[cfg(feature = "server")]
fn a_server_streams_a_whole_answer_in_one_piece() {
    let chat = chat();
    let router = model("word-problems-router/router.safetensors");
    let slm = model("word-problems-slm");
    let server = support::Server::start(tokenroute(&[
        "serve",
        "--slm",
        &slm,
        "--llm",
        &chat.url,
        "--llm-api",
        "chat",
        "--llm-model",
        "hosted",
        "--router",
        &router,
        "--tau",
        "0.8",
        "--handoff",
        "--bind",
        "127.0.0.1:0",
    ]));
    let ask = |stream: bool| {
        let body = json!({"model": server.name, "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": 60, "stream": stream});
        post(&server.url, &body.to_string())
    };
    let whole: Value = serde_json::from_str(&ask(false)).expect("JSON");
    assert_eq!(whole["choices"][0]["message"]["content"], SAID);
    let usage = &whole["usage"]["tokenroute"];
    assert_eq!((&usage["llm_calls"], &usage["offload_ratio"]), (&json!(1), &json!(1.0)));
    assert!(usage["discarded_positions"].as_u64() > Some(0), "{usage}");
    // A budget counts tokens.
    let body = json!({"model": server.name, "messages": [{"role": "user", "content": QUESTION}],
        "max_offload": 0.5});
    let refused: Value = serde_json::from_str(&post(&server.url, &body.to_string())).expect("JSON");
    assert_eq!(refused["error"]["param"], "max_offload", "{refused}");
    let message = refused["error"]["message"].as_str().expect("a message");
    assert!(message.contains("makes whole answers"), "{message}");
    let pieces: String = ask(true)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    assert_eq!(pieces, SAID);
}
