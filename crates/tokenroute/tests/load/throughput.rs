//! Tokens per second with one client and with many, and the processor time of each thread.
//!
//! Environment variables set the measurement:
//! - `TOKENROUTE_LOAD_PROGRAM`: a binary, such as one built for release; else the test's own.
//! - `TOKENROUTE_LOAD_SLM`: a small model, served alone; else the bundled pair, its LLM in
//!   a `tokenroute cloud` of its own.
//! - `TOKENROUTE_LOAD_ROUTER`: the pair's router, such as a trained one; else one of made-up
//!   weights.
//! - `TOKENROUTE_LOAD_TAU`: its threshold; else 0.5. 0 is the SLM alone.
//! - `TOKENROUTE_LOAD_ARGS`: more arguments of `serve`, between spaces.
//! - `TOKENROUTE_LOAD_CLIENTS`: numbers of clients, 1 the first; else `1,8,32`.
//! - `TOKENROUTE_LOAD_SECONDS`: how long each is measured; else 6.
//! - `TOKENROUTE_LOAD_TOKENS`: most tokens of an answer; else 64.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;

use crate::clients::{Seen, busy, load, made, prompts, read};
use crate::support::{Server, model, write_router};
use crate::{cloud, tokenroute};

fn variable(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[test]
#[ignore = "it measures"]
fn many_clients_share_a_batch() {
    let folder = TempDir::new().expect("a folder");
    let mut serve = tokenroute(&["serve", "--bind", "127.0.0.1:0"]);
    let cloud = match std::env::var("TOKENROUTE_LOAD_SLM") {
        Ok(slm) => {
            serve.args(["--slm", &slm]);
            None
        }
        Err(_) => {
            let made_up = folder.path().join("router.safetensors");
            write_router(&made_up);
            let slm = model("word-problems-slm");
            let cloud = cloud("127.0.0.1:0");
            let tau = variable("TOKENROUTE_LOAD_TAU", "0.5");
            let router = variable("TOKENROUTE_LOAD_ROUTER", &made_up.display().to_string());
            serve.args(["--slm", &slm, "--llm", &cloud.url, "--tau", &tau, "--router", &router]);
            Some(cloud)
        }
    };
    serve.args(variable("TOKENROUTE_LOAD_ARGS", "").split_whitespace());
    let server = Server::start(serve);
    let address = server.url.trim_start_matches("http://").to_owned();
    let prompts = prompts();
    let tokens: usize = variable("TOKENROUTE_LOAD_TOKENS", "64").parse().expect("a number");
    let ask = |prompt: &str| {
        let body = json!({"prompt": prompt, "max_tokens": tokens, "stream": true});
        read(&address, &body)
    };
    let seconds: f64 = variable("TOKENROUTE_LOAD_SECONDS", "6").parse().expect("seconds");
    let mut one = None;
    for clients in variable("TOKENROUTE_LOAD_CLIENTS", "1,8,32").split(',') {
        let clients: usize = clients.trim().parse().expect("a number of clients");
        let (mut rate, mut offload, mut shares) = (0.0, 0.0, String::new());
        let seen = Seen::default();
        load(clients, &prompts, &seen, ask, || {
            sleep(Duration::from_secs_f64(seconds / 6.0));
            let (start, before) = (Instant::now(), made(&address));
            let (theirs, ours) = (busy(server.child.id()), busy(std::process::id()));
            sleep(Duration::from_secs_f64(seconds));
            let after = made(&address);
            let [tokens, llm] = std::array::from_fn(|i| after[i] - before[i]);
            let (later, time) = (busy(server.child.id()), start.elapsed().as_secs_f64());
            rate = tokens as f64 / time;
            offload = 100.0 * llm as f64 / tokens.max(1) as f64;
            let mut share = |name: &str, seconds: f64| {
                shares += &format!(", {name} {:.0}%", 100.0 * seconds / time);
            };
            for (name, seconds) in later {
                share(&name, seconds - theirs.get(&name).unwrap_or(&0.0));
            }
            let sum = |busy: std::collections::BTreeMap<_, f64>| busy.into_values().sum::<f64>();
            share("clients", sum(busy(std::process::id())) - sum(ours));
        });
        let failed = seen.failed.into_inner().expect("a lock");
        assert!(failed.is_empty(), "{failed:?}");
        let one = *one.get_or_insert(rate);
        let times = rate / one;
        println!(
            "{clients:3} clients: {rate:8.1} tokens/s, {times:.2} times the first, {offload:.1}% of them the LLM's; processors busy{}",
            shares.replacen(',', ":", 1)
        );
    }
    assert_eq!(server.stop(), "");
    if let Some(cloud) = cloud {
        cloud.stop();
    }
}
