//! `tokenroute serve` under load, while the cloud is killed and restarted. It takes a minute
//! and measures, so it runs on demand: `cargo test --workspace --test load -- --ignored
//! --nocapture --test-threads 1`, with `TOKENROUTE_LOAD_PROGRAM` for a release binary.
//! `experiments/quickstart/load.sh` writes a report of it.
#![cfg(feature = "server")]

mod clients;
#[path = "../support/mod.rs"]
mod support;
mod throughput;

use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clients::{Seen, load, prompts, resident, watch};
use support::{Server, model, write_router};
use tempfile::TempDir;

const CLIENTS: usize = 32;

/// Duration of the load. The cloud is down from 1/6 to 1/4 and from 1/3 to 5/12 of it.
const LOAD: Duration = Duration::from_secs(60);

/// A release binary, or the test's own.
fn program() -> String {
    let own = || env!("CARGO_BIN_EXE_tokenroute").to_owned();
    std::env::var("TOKENROUTE_LOAD_PROGRAM").unwrap_or_else(|_| own())
}

fn tokenroute(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("--quiet").args(args);
    command
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
    let prompts = prompts();
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

    let seen = Seen::default();
    let mut recovered = Vec::new();
    let mut memory = Vec::new();
    let ask = |prompt: &str| watch(&address, prompt, 0.5, &seen);
    load(CLIENTS, &prompts, &seen, ask, || {
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
    let failed = seen.failed.lock().expect("a lock");
    let (least, most) = memory.iter().fold((f64::MAX, 0.0_f64), |(a, b), &m| (a.min(m), b.max(m)));
    println!(
        "{CLIENTS} clients: {} answers, {} failed, {} tokens, {} degraded; the LLM was back {recovered:.2?} s after its server; {least:.1} to {most:.1} MiB in the last {} s",
        seen.answers.load(Relaxed),
        failed.len(),
        seen.tokens.load(Relaxed),
        seen.degraded.load(Relaxed),
        (LOAD / 2).as_secs(),
    );
    assert!(failed.is_empty(), "{failed:?}");
    assert!(recovered.iter().all(|&seconds| seconds <= 5.0), "back after {recovered:?} s");
    assert!(most <= 1.05 * least, "memory grew from {least} to {most} MiB");
    assert_eq!(server.stop(), "");
}
