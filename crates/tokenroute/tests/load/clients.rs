//! Clients that stream answers one after the other, and the server process's own figures.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::{Server, root};

/// The clients' measurements.
#[derive(Default)]
pub struct Seen {
    pub answers: AtomicU64,
    pub failed: Mutex<Vec<String>>,
    pub tokens: AtomicU64,
    pub degraded: AtomicU64,
    /// When the LLM's first token came after this was cleared.
    pub back: Mutex<Option<Instant>>,
}

/// Test questions as prompts.
pub fn prompts() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("datasets/word-problems/test.jsonl"));
    text.expect("questions")
        .lines()
        .take(300)
        .map(|line| serde_json::from_str::<tokenroute_core::Question>(line).expect("JSON").prompt())
        .collect()
}

/// The lines of a reply.
fn lines(address: &str, head: &str, body: &str) -> std::io::Result<BufReader<TcpStream>> {
    let mut socket = TcpStream::connect(address)?;
    let length = body.len();
    let head = format!(
        "{head} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    socket.write_all(format!("{head}{body}").as_bytes())?;
    Ok(BufReader::new(socket))
}

/// One streamed answer with the origin of every token. Returns whether it was complete.
pub fn watch(address: &str, prompt: &str, tau: f64, seen: &Seen) -> std::io::Result<bool> {
    let body = json!({
        "prompt": prompt, "max_tokens": 64, "stream": true, "tokenroute": true, "tau": tau,
    });
    let mut done = false;
    for line in lines(address, "POST /v1/completions", &body.to_string())?.lines() {
        let line = line?;
        let count = |part: &str| line.matches(part).count() as u64;
        let llm = count("\"origin\":\"llm\"");
        seen.degraded.fetch_add(count("\"origin\":\"degraded\""), Ordering::Relaxed);
        seen.tokens.fetch_add(count("\"origin\":"), Ordering::Relaxed);
        if llm > 0 {
            seen.back.lock().expect("a lock").get_or_insert_with(Instant::now);
        }
        done |= line == "data: [DONE]";
    }
    Ok(done)
}

/// One streamed answer, read by a client that only shows it.
pub fn read(address: &str, body: &Value) -> std::io::Result<bool> {
    let mut reply = Vec::new();
    lines(address, "POST /v1/completions", &body.to_string())?.read_to_end(&mut reply)?;
    Ok(reply.windows(12).any(|part| part == b"data: [DONE]"))
}

/// Clients that ask one prompt after the other until `during` is over.
pub fn load(
    clients: usize,
    prompts: &[String],
    seen: &Seen,
    ask: impl Fn(&str) -> std::io::Result<bool> + Sync,
    during: impl FnOnce(),
) {
    let over = AtomicBool::new(false);
    scope(|scope| {
        for client in 0..clients {
            let (over, ask) = (&over, &ask);
            scope.spawn(move || {
                for prompt in prompts.iter().cycle().skip(client * 7) {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    match ask(prompt) {
                        Ok(true) => drop(seen.answers.fetch_add(1, Ordering::Relaxed)),
                        other => seen.failed.lock().expect("a lock").push(format!("{other:?}")),
                    }
                }
            });
        }
        during();
        over.store(true, Ordering::Relaxed);
    });
}

/// Tokens that a server has made, and the LLM's share of them.
pub fn made(address: &str) -> [u64; 2] {
    let reply = lines(address, "GET /metrics", "").expect("metrics").lines();
    let reply = reply.map(|line| line.expect("a line"));
    let value =
        |line: &str| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number");
    reply.filter(|line| line.starts_with("tokenroute_tokens_total{")).fold([0; 2], |sum, line| {
        let llm = if line.contains("\"llm\"") { value(&line) } else { 0 };
        [sum[0] + value(&line), sum[1] + llm]
    })
}

/// Resident memory of a process, in MiB.
pub fn resident(server: &Server) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id()));
    let status = status.expect("Linux's /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.trim_end_matches("kB").trim().parse().expect("a number");
    kib / 1024.0
}

/// Seconds of processor time so far, by name of thread.
pub fn busy(process: u32) -> BTreeMap<String, f64> {
    let mut busy = BTreeMap::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task")).expect("Linux's /proc") {
        // A thread may end while its neighbours are read.
        let Ok(stat) = std::fs::read_to_string(task.expect("a thread").path().join("stat")) else {
            continue;
        };
        let (head, rest) = stat.rsplit_once(") ").expect("a name in brackets");
        let name = head.split_once('(').expect("a name in brackets").1.to_owned();
        let ticks = rest.split(' ').skip(11).take(2).map(|n| n.parse::<f64>().expect("ticks"));
        // A tick of /proc on Linux is 10 ms.
        *busy.entry(name).or_default() += ticks.sum::<f64>() / 100.0;
    }
    busy
}
