//! `tokenroute serve` under load, with a cloud that dies and comes back. It takes a
//! minute and measures, so it runs on demand:
//! `cargo test --release -p tokenroute --test load -- --ignored --nocapture`
#![cfg(feature = "server")]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use serde_json::json;
use support::{Server, model, root, tokenroute, write_router};
use tempfile::TempDir;

const CLIENTS: usize = 32;

/// How long the load lasts; the cloud is away from 1/6 to 1/4 and from 1/3 to 5/12 of it.
const LOAD: Duration = Duration::from_secs(60);

/// How long throughput is measured, with one client and with many.
const RUN: Duration = Duration::from_secs(6);

/// What clients saw.
#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    failed: Mutex<Vec<String>>,
    tokens: AtomicU64,
    degraded: AtomicU64,
    /// When the LLM's first token came since this was last cleared.
    back: Mutex<Option<Instant>>,
}

/// One streamed answer, looked at line by line.
fn ask(address: &str, prompt: &str, tau: f64, seen: &Seen) -> std::io::Result<bool> {
    let body = json!({
        "prompt": prompt, "max_tokens": 64, "stream": true, "tokenroute": true, "tau": tau,
    });
    let body = body.to_string();
    let mut socket = TcpStream::connect(address)?;
    let length = body.len();
    let head = format!(
        "POST /v1/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    socket.write_all(format!("{head}{body}").as_bytes())?;
    let mut done = false;
    for line in BufReader::new(socket).lines() {
        let line = line?;
        let count = |part: &str| line.matches(part).count() as u64;
        let llm = count("\"origin\":\"llm\"");
        let degraded = count("\"origin\":\"degraded\"");
        seen.degraded.fetch_add(degraded, Ordering::Relaxed);
        seen.tokens.fetch_add(count("\"origin\":"), Ordering::Relaxed);
        if llm > 0 {
            seen.back.lock().expect("a lock").get_or_insert_with(Instant::now);
        }
        done |= line == "data: [DONE]";
    }
    Ok(done)
}

/// Clients that ask one question after the other until told to stop.
fn load(
    address: &str,
    prompts: &[String],
    clients: usize,
    tau: f64,
    seen: &Seen,
    during: impl FnOnce(),
) {
    let over = AtomicBool::new(false);
    scope(|scope| {
        for client in 0..clients {
            let over = &over;
            scope.spawn(move || {
                for prompt in prompts.iter().cycle().skip(client * 7) {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    match ask(address, prompt, tau, seen) {
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

/// Resident memory of a process, in MiB.
fn resident(server: &Server) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id()));
    let status = status.expect("Linux's /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    let kib: f64 = line.trim_end_matches("kB").trim().parse().expect("a number");
    kib / 1024.0
}

fn cloud(bind: &str) -> Server {
    let llm = model("word-problems-llm");
    Server::start(tokenroute(&["cloud", "--model", &llm, "--bind", bind]))
}

#[test]
#[ignore = "it takes more than a minute"]
fn no_request_fails_while_the_cloud_dies_and_comes_back() {
    let folder = TempDir::new().expect("a folder");
    let router = folder.path().join("router.safetensors");
    write_router(&router);
    let router = router.display().to_string();
    let slm = model("word-problems-slm");
    let text = std::fs::read_to_string(root().join("datasets/word-problems/test.jsonl"));
    let prompts: Vec<String> = text
        .expect("questions")
        .lines()
        .take(300)
        .map(|line| serde_json::from_str::<tokenroute_core::Question>(line).expect("JSON").prompt())
        .collect();
    let mut llm = cloud("127.0.0.1:0");
    let bind = llm.url.trim_start_matches("http://").to_owned();
    let server = Server::start(tokenroute(&[
        "serve",
        "--bind",
        "127.0.0.1:0",
        "--slm",
        &slm,
        "--llm",
        &llm.url,
        "--router",
        &router,
        "--tau",
        "0.5",
    ]));
    let address = server.url.trim_start_matches("http://").to_owned();

    let mut rates = Vec::new();
    for clients in [1, CLIENTS] {
        let seen = Seen::default();
        load(&address, &prompts, clients, 0.0, &seen, || sleep(RUN));
        rates.push(seen.tokens.load(Ordering::Relaxed) as f64 / RUN.as_secs_f64());
    }
    let [one, many] = rates[..] else { unreachable!("two runs") };
    println!(
        "small model alone: {one:.0} tokens/s with 1 client, {many:.0} with {CLIENTS}: {:.2} times",
        many / one
    );

    let seen = Seen::default();
    let mut recovered = Vec::new();
    let mut memory = Vec::new();
    load(&address, &prompts, CLIENTS, 0.5, &seen, || {
        for _ in 0..2 {
            sleep(LOAD / 6);
            drop(llm.child.kill());
            drop(llm.child.wait());
            sleep(LOAD / 12);
            *seen.back.lock().expect("a lock") = None;
            llm = cloud(&bind);
            let up = Instant::now();
            while seen.back.lock().expect("a lock").is_none() && up.elapsed() < LOAD {
                sleep(Duration::from_millis(10));
            }
            recovered.push(up.elapsed().as_secs_f64());
        }
        for _ in 0..30 {
            memory.push(resident(&server));
            sleep(LOAD / 60);
        }
    });
    let failed = seen.failed.into_inner().expect("a lock");
    let (least, most) = memory.iter().fold((f64::MAX, 0.0_f64), |(a, b), &m| (a.min(m), b.max(m)));
    println!(
        "{CLIENTS} clients: {} answers, {} failed, {} tokens, {} degraded; the LLM was back {recovered:.2?} s after its server; {least:.1} to {most:.1} MiB in the last {} s",
        seen.answers.into_inner(),
        failed.len(),
        seen.tokens.into_inner(),
        seen.degraded.into_inner(),
        (LOAD / 2).as_secs(),
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(server.stop(), "");
}
